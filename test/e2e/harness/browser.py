"""Headless Chromium, driven through its own driver over HTTP (W3C WebDriver), with nothing but the standard
library. What the console and the pages' security policy complain about is kept."""
import base64
import json
import shutil
import subprocess
import tempfile
import urllib.request

from harness.assay import environment, free_port
from harness.deadline import eventually, patient

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"    # W3C WebDriver §12
TAB, ENTER = "\ue004", "\ue007"


def missing():
    """What is not here of a browser, in words; None if all is."""
    if CHROMIUM and DRIVER:
        return None
    return "there is no Chromium with its driver (Debian: chromium chromium-driver)"


class Browser:
    def __init__(self):
        self.port = free_port()
        self.profile = tempfile.TemporaryDirectory(prefix="assay-browser-")
        self.driver = subprocess.Popen([DRIVER, f"--port={self.port}"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, env=environment(), start_new_session=True)
        try:
            eventually(self._is_up, 20, "the browser's driver answers")
            self.session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
                "goog:chromeOptions": {"binary": CHROMIUM, "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                    "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
                    "--disable-component-update", f"--user-data-dir={self.profile.name}",
                    "--window-size=1280,900"]}}}})["sessionId"]
        except BaseException:
            self.close()
            raise

    def close(self):
        try:
            self._do("DELETE", "")
        except (OSError, AttributeError):
            pass
        self.driver.terminate()
        self.driver.wait()
        self.profile.cleanup()

    def _call(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                    asked, timeout=patient(20)) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as wrong:
            raise AssertionError(f"{method} {path}: {wrong.read()[:1000]!r}") from wrong

    def _is_up(self):
        try:
            return self._call("GET", "/status")["ready"]
        except OSError:
            return False

    def _do(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    # --- what a person does

    def open(self, url):
        self._do("POST", "/url", {"url": url})

    @property
    def url(self):
        return self._do("GET", "/url")

    def find(self, css):
        return self._do("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def follow(self, text):
        """Click on the link with this text; again if what was found is replaced before it is clicked."""
        def clicked():
            try:
                self.click(self._do("POST", "/element", {"using": "partial link text", "value": text})[ELEMENT])
                return True
            except AssertionError as wrong:
                if "stale element" in str(wrong):
                    return False
                raise
        eventually(clicked, 5, f"there is a link '{text}'")

    def click(self, element):
        self._do("POST", f"/element/{element}/click")

    def type(self, element, text):
        self._do("POST", f"/element/{element}/value", {"text": text})

    def press(self, key):
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def text(self, css="body"):
        """What is read there; "" while it is not there. In one call, for a page may change between two."""
        return self.run("const e = document.querySelector(arguments[0]); return e ? e.innerText : ''", css)

    def run(self, script, *args):
        """The value that the body of a function returns."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(args)})

    def until(self, script, why, within=10):
        return eventually(lambda: self.run(script), within, why)

    # --- what it looks like

    def window(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=False)

    def scheme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def cdp(self, command, **params):
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self._do("GET", "/screenshot")))

    def complaints(self):
        """What the console has said since it was asked last; violations of the policy are said there."""
        return [line["message"] for line in self._do("POST", "/se/log", {"type": "browser"})
                if line["level"] in ("SEVERE", "WARNING")]
