"""axe-core, the judge of accessibility that is used most, in the page that a browser shows. It comes in a
package from PyPI and is never part of the page: the driver puts it there."""
import importlib.util
import os

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

RUN = """
return axe.run(document, {runOnly: arguments[0], resultTypes: ["violations"]}).then((found) =>
  found.violations.flatMap((rule) => rule.nodes.map((node) =>
    `${rule.id}: ${rule.help}: ${node.target.join(" ")}: ${node.html.slice(0, 120)}: ${node.failureSummary}`)));
"""


def _script():
    package = importlib.util.find_spec("axe_playwright_python")    # its Playwright stays unused
    return package and os.path.join(package.submodule_search_locations[0], "axe.min.js")


SCRIPT = _script()


def missing():
    """What is not here, in words; None if all is."""
    return None if SCRIPT else "axe-core is not installed (pip install -r .ci/requirements.txt)"


def put_into(browser):
    """Into the page that is shown now, until another is opened."""
    with open(SCRIPT, encoding="utf-8") as script:
        browser.run(script.read())


def violations(browser):
    """Each in one text: the rule, what it asks for, where that is not so and why."""
    return browser.run(RUN, TAGS)
