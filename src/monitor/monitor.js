/* Keeps a page up to date while somebody looks at it, and draws the plots. Everything here is an extra: the
 * pages say all of it without a script. Text is set as text, never as markup. */
"use strict";
(() => {
  const prefix = document.body.dataset.prefix;
  const live = document.getElementById("live");
  const TABLES_MS = 5000, PLOTS_MS = 30000;
  let source = null, away = false, busy = false, refreshed = Date.now(), later = 0;

  function say(text, mode) {
    if (live.textContent !== text) live.textContent = text;
    live.className = mode;
  }

  /* Parts that are marked as live are taken from the page as it is now. */
  async function refresh() {
    const parts = [...document.querySelectorAll("[data-live][id]")];
    if (!parts.length || busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) {
        const other = fresh.getElementById(part.id);
        if (!other || other.innerHTML === part.innerHTML || part.contains(document.activeElement)) continue;
        part.replaceChildren(...other.childNodes);
      }
    } catch { /* the stream will say that the server is away */ } finally {
      busy = false;
      refreshed = Date.now();
    }
  }

  function refreshSoon() {
    if (later) return;
    later = setTimeout(() => { later = 0; refresh(); }, Math.max(0, refreshed + TABLES_MS - Date.now()));
  }

  function figures(event) {
    const told = JSON.parse(event.data);
    for (const place of document.querySelectorAll("[data-figure]")) {
      const text = told[place.dataset.figure];
      if (text !== undefined && place.textContent !== text) place.textContent = text;
    }
    away = !told.healthy;
    say(away ? "The store cannot be written" : "Live", away ? "off" : "on");
    refreshSoon();
  }

  function open() {
    if (source || document.hidden) return;
    source = new EventSource(prefix + "/live");
    source.addEventListener("figures", figures);
    source.addEventListener("away", () => say("The store is away", "off"));
    source.addEventListener("error", () => say("Not connected", "off"));
  }

  function close(text) {
    if (source) source.close();
    source = null;
    say(text, "");
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close("Paused"); else { open(); draw(); }
  });
  addEventListener("pagehide", () => close(""));
  addEventListener("pageshow", open);

  /* ---- plots */
  const kinds = {
    rates: [["accepted", "acceptedPerSecond", 1], ["success", "successPerSecond", 2], ["failed", "failedPerSecond", 3]],
    queue: [["queued", "queued", 1], ["in work", "started", 2]],
    latency: [["half take under", "p50Seconds", 1], ["99 % take under", "p99Seconds", 3]],
    oldest: [["oldest waiting", "oldestSeconds", 1]],
    webhooks: [["to send", "webhooksToSend", 1], ["dead letters", "deadLetters", 3]],
  };
  const plots = document.getElementById("plots");
  const charts = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function at(ms, span) {
    const text = new Date(ms).toISOString();
    return span === "30d" ? text.slice(5, 10) : text.slice(11, 16);
  }

  /* In dashes as well as in colours, for those who do not tell these apart. */
  function datasets(kind, history) {
    return kinds[kind].map(([label, key, n], i) => ({
      label, data: history.atMs.map((x, j) => ({ x, y: history[key][j] })),
      borderColor: colour("--plot" + n), backgroundColor: colour("--plot" + n), borderWidth: 1.5,
      borderDash: [[], [6, 3], [2, 2]][i], pointRadius: history.atMs.length > 40 ? 0 : 1.5, tension: 0,
    }));
  }

  function options(span, history) {
    const ticks = { color: colour("--soft"), maxTicksLimit: 6, maxRotation: 0 };
    return {
      animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { type: "linear", min: history.atMs[0], max: history.atMs[history.atMs.length - 1], ticks: { ...ticks, callback: (ms) => at(ms, span) }, grid: { display: false } },
        y: { beginAtZero: true, ticks: { ...ticks, maxTicksLimit: 5 }, grid: { color: colour("--grid") } },
      },
      plugins: {
        legend: { labels: { color: colour("--ink"), boxWidth: 18, boxHeight: 1, font: { size: 11 } }, align: "start" },
        tooltip: { callbacks: { title: (items) => new Date(items[0].parsed.x).toISOString().slice(0, 16).replace("T", " ") + " UTC" } },
      },
    };
  }

  async function draw() {
    if (!plots || !window.Chart || document.hidden) return;
    const span = plots.dataset.span;
    let history;
    try {
      const answer = await fetch(prefix + "/api/history?span=" + span, { credentials: "same-origin" });
      if (!answer.ok) return;
      history = await answer.json();
    } catch { return; }
    for (const canvas of plots.querySelectorAll("canvas")) {
      const data = { datasets: datasets(canvas.dataset.plot, history) };
      const chart = charts.get(canvas);
      if (chart) {
        chart.data = data;
        chart.options = options(span, history);
        chart.update();
      } else {
        charts.set(canvas, new window.Chart(canvas, { type: "line", data, options: options(span, history) }));
      }
    }
    plots.dataset.drawn = history.atMs.length;
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  setInterval(draw, PLOTS_MS);
  open();
  draw();
})();
