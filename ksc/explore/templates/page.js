// What lights up, is found and is folded on the explorer's page.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const CHUNK = 200;
  const MOST_TICKS = 300;
  const main = document.getElementById("panes");
  const panes = [];
  let pinned = null;
  let hits = [];
  let currentHit = -1;

  // Text.

  const WORDS = {
    python: "and as assert break class continue def elif else except finally for from if import in is lambda not or pass raise return while with yield True False None",
    cpp: "auto bool break const continue double else extern float for if inline int int64_t namespace return static struct switch true false typename using void while include",
    ir: "def entry box let lam if for while build reduce withacc values tuple down true false Float Integer Bool Tensor Tuple Values Acc Box",
  };
  const COMMENT = { python: "#[^\\n]*", cpp: "//[^\\n]*|^\\s*#\\w+", ir: ";[^\\n]*" };
  const patterns = Object.fromEntries(Object.keys(WORDS).map((language) => [language, new RegExp(
    `(?<c>${COMMENT[language]})|(?<s>"(?:\\\\.|[^"\\\\])*"${language === "python" ? "|'(?:\\\\.|[^'\\\\])*'" : ""})` +
    `|(?<k>(?<![\\w.])(?:${WORDS[language].split(" ").join("|")})(?![\\w]))` +
    `|(?<n>(?<![\\w.])-?\\d[\\w.]*(?:(?<=[eE])[-+]\\d+)?)` +
    (language === "ir" ? "|(?<f>(?<=\\()[a-z_]+)" : "|(?<f>[A-Za-z_]\\w*(?=\\())"), "g")]));

  function escaped(text) {
    return text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
  }

  function coloured(text, language) {
    let html = "";
    let end = 0;
    for (const match of text.matchAll(patterns[language])) {
      const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
      html += `${escaped(text.slice(end, match.index))}<span class="${kind}">${escaped(match[0])}</span>`;
      end = match.index + match[0].length;
    }
    return html + escaped(text.slice(end));
  }

  function marked(text, ranges, tag) {
    let html = "";
    let end = 0;
    for (const [first, last] of ranges.sort((a, b) => a[0] - b[0])) {
      if (first < end || last <= first) continue;
      html += `${escaped(text.slice(end, first))}<${tag}>${escaped(text.slice(first, last))}</${tag}>`;
      end = last;
    }
    return html + escaped(text.slice(end));
  }

  // Panes. A place is a line of the user's source; a row knows its spans, and through them its places.

  function placesOf(row) {
    return row[1].flatMap((span) => data.spans[span].map((piece) => piece[0]));
  }

  class Pane {
    constructor(version) {
      this.element = document.getElementById("pane").content.firstElementChild.cloneNode(true);
      this.code = this.element.querySelector(".code");
      this.ticks = this.element.querySelector(".ticks");
      this.select = this.element.querySelector("select");
      for (const group of new Set(data.panes.map((pane) => pane.group))) {
        const options = document.createElement("optgroup");
        options.label = group;
        data.panes.forEach((pane, k) => {
          if (pane.group !== group) return;
          const option = new Option(`${pane.group === "Python" ? "Python" : `${pane.group}: ${pane.title}`}${pane.same ? " =" : ""}`, k);
          option.title = pane.note;
          options.append(option);
        });
        this.select.append(options);
      }
      this.select.addEventListener("change", () => this.show(Number(this.select.value)));
      this.element.querySelector(".back").addEventListener("click", () => this.step(-1));
      this.element.querySelector(".on").addEventListener("click", () => this.step(1));
      this.element.querySelector(".close").addEventListener("click", () => this.close());
      this.code.addEventListener("mouseover", (event) => this.over(event));
      this.code.addEventListener("mouseleave", () => light(pinned));
      this.code.addEventListener("click", (event) => this.click(event));
      this.code.addEventListener("keydown", (event) => {
        if (event.key === "[") this.step(-1);
        if (event.key === "]") this.step(1);
      });
      main.append(this.element);
      panes.push(this);
      this.show(version);
    }

    show(version) {
      this.version = version;
      this.pane = data.panes[version];
      this.select.value = version;
      this.element.dataset.group = this.pane.group;
      this.element.dataset.title = this.pane.title;
      const before = version > 0 && data.panes[version - 1].group === this.pane.group && this.pane.language === "ir"
        ? new Set(data.panes[version - 1].rows) : null;
      const pieces = [];
      this.places = new Map();
      this.pane.rows.forEach((number, k) => {
        const row = data.rows[number];
        for (const place of new Set(placesOf(row))) {
          if (!this.places.has(place)) this.places.set(place, []);
          this.places.get(place).push(k);
        }
        if (k % CHUNK === 0) {
          const size = Math.min(CHUNK, this.pane.rows.length - k) * 18;
          pieces.push(`${k ? "</div>" : ""}<div class="chunk" style="contain-intrinsic-size:auto ${size}px">`);
        }
        const shown = this.pane.numbers ? this.pane.numbers[k] || "" : k + 1;
        const kind = `row${row[1].length ? " origin" : ""}${before && !before.has(number) ? " new" : ""}`;
        pieces.push(`<div class="${kind}" data-k="${k}" data-number="${shown}"><span class="t">${coloured(row[0], this.pane.language)}</span></div>`);
      });
      this.code.innerHTML = `${pieces.join("")}</div>`;
      this.rows = [...this.code.querySelectorAll(".row")];
      this.restored = [];
      this.code.scrollTop = 0;
      const counts = Object.entries(this.pane.counts).map(([name, count]) => `${number(count)} ${name}`).join(" · ");
      this.tell(".note", this.pane.note + (this.pane.same ? " (nothing to do)" : ""));
      this.tell(".sums", counts);
      this.element.querySelector(".back").disabled = !this.neighbour(-1);
      this.element.querySelector(".on").disabled = !this.neighbour(1);
      find();
      light(pinned);
    }

    neighbour(by) {
      const other = data.panes[this.version + by];
      return other && other.group === this.pane.group ? other : null;
    }

    tell(name, text) {
      const line = this.element.querySelector(name);
      line.textContent = text;
      line.title = text;
    }

    step(by) {
      if (this.neighbour(by)) this.show(this.version + by);
    }

    close() {
      if (panes.length === 1) return;
      panes.splice(panes.indexOf(this), 1);
      this.element.remove();
      find();
    }

    target(event) {
      const row = event.target.closest(".row");
      return row && data.rows[this.pane.rows[row.dataset.k]][1].length ? { pane: this, k: Number(row.dataset.k) } : null;
    }

    over(event) {
      const target = this.target(event);
      light(target || pinned);
    }

    click(event) {
      const target = this.target(event);
      if (!target || !window.getSelection().isCollapsed) return;
      pinned = pinned && pinned.pane === this && pinned.k === target.k && pinned.version === this.version ? null : { ...target, version: this.version };
      light(pinned, true);
    }

    light(source, scroll) {
      for (const k of this.restored) {
        this.rows[k].classList.remove("same", "near", "pinned");
        if (this.pane.language === "python") this.restore(k);
      }
      this.restored = [];
      this.ticks.textContent = "";
      if (!source) return;
      const own = source.pane === this;
      const strong = [];
      const lit = new Set([...source.places].flatMap((place) => this.places.get(place) || []));
      for (const k of lit) {
        const exact = data.rows[this.pane.rows[k]][1].some((span) => source.spans.has(span)) || source.python || this.pane.language === "python";
        this.rows[k].classList.add(own && k === source.k ? "pinned" : exact ? "same" : "near");
        if (exact) strong.push(k);
        if (this.pane.language === "python" && !source.python) this.underline(k, source);
        this.restored.push(k);
      }
      if (own) return;
      const ordered = (strong.length ? strong : [...lit]).sort((a, b) => a - b);
      const step = Math.ceil(ordered.length / MOST_TICKS);
      ordered.filter((_, k) => k % step === 0).forEach((k) => {
        const tick = document.createElement("i");
        tick.style.top = `${(100 * k) / this.rows.length}%`;
        this.ticks.append(tick);
      });
      if (scroll && ordered.length) this.reveal(ordered);
    }

    underline(k, source) {
      const text = data.rows[this.pane.rows[k]][0];
      const place = placesOf(data.rows[this.pane.rows[k]])[0];
      const ranges = [...source.spans].flatMap((span) => data.spans[span]).filter((piece) => piece[0] === place);
      if (ranges.every(([, first, last]) => !text.slice(0, first).trim() && last >= text.length)) return;
      const [first, last] = [Math.min(...ranges.map((r) => r[1])), Math.max(...ranges.map((r) => r[2]))];
      this.rows[k].firstChild.innerHTML = marked(text, [[first, Math.min(last, text.length)]], "u");
    }

    restore(k) {
      this.rows[k].firstChild.innerHTML = coloured(data.rows[this.pane.rows[k]][0], this.pane.language);
    }

    reveal(ordered) {
      const top = this.code.scrollTop / 18;
      const height = this.code.clientHeight / 18;
      if (ordered.some((k) => k >= top && k < top + height - 1)) return;
      this.code.scrollTop = Math.max(0, (ordered[0] - height / 3) * 18);
    }
  }

  function light(target, scroll) {
    let source = null;
    if (target && (target.version === undefined || target.version === target.pane.version) && panes.includes(target.pane)) {
      const row = data.rows[target.pane.pane.rows[target.k]];
      source = { pane: target.pane, k: target.k, spans: new Set(row[1]), places: new Set(placesOf(row)), python: target.pane.pane.language === "python" };
    }
    panes.forEach((pane) => pane.light(source, scroll));
  }

  function number(count) {
    return count.value === null ? count.formula : count.value.toLocaleString("en");
  }

  // Search.

  const box = document.getElementById("search");

  function find() {
    const text = box.value.toLowerCase();
    hits = [];
    currentHit = -1;
    for (const pane of panes) {
      pane.rows.forEach((row, k) => {
        const found = text !== "" && data.rows[pane.pane.rows[k]][0].toLowerCase().includes(text);
        row.classList.toggle("hit", found);
        row.classList.remove("current");
        if (found) hits.push([pane, k]);
      });
    }
    report();
  }

  function report() {
    const shown = currentHit < 0 ? `${hits.length}` : `${currentHit + 1} of ${hits.length}`;
    document.getElementById("hits").textContent = box.value === "" ? "" : `${shown} ${hits.length === 1 ? "line" : "lines"}`;
  }

  function go(by) {
    if (!hits.length) return;
    if (currentHit >= 0) hits[currentHit][0].rows[hits[currentHit][1]].classList.remove("current");
    currentHit = currentHit < 0 ? (by > 0 ? 0 : hits.length - 1) : (currentHit + by + hits.length) % hits.length;
    const [pane, k] = hits[currentHit];
    pane.rows[k].classList.add("current");
    pane.reveal([k]);
    pane.element.scrollIntoView({ block: "nearest", inline: "nearest" });
    report();
  }

  box.addEventListener("input", find);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") { box.value = ""; find(); box.blur(); }
  });
  document.getElementById("next-hit").addEventListener("click", () => go(1));
  document.getElementById("previous-hit").addEventListener("click", () => go(-1));
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select")) return;
    if (event.key === "/") { event.preventDefault(); box.focus(); box.select(); }
    if (event.key === "Escape") { pinned = null; light(null); }
  });

  // Drawers, theme.

  document.querySelectorAll(".toggle").forEach((button) => button.addEventListener("click", () => {
    const drawer = document.getElementById(button.dataset.drawer);
    drawer.hidden = !drawer.hidden;
    button.setAttribute("aria-expanded", String(!drawer.hidden));
    if (button.dataset.drawer === "plot" && !drawer.hidden) draw();
  }));
  document.getElementById("add-pane").addEventListener("click", () => {
    new Pane(data.shown[data.shown.length - 1]).element.scrollIntoView({ inline: "end" });
  });
  // In a notebook or a site the page is light or dark as that is, which need not be as the system is.
  try {
    const host = window.parent === window ? null : window.parent.document.body;
    const is = (theme, jupyter) => host && host.matches(`[data-jp-theme-light="${jupyter}"], [data-theme="${theme}"], .vscode-${theme}`);
    if (is("dark", "false")) document.documentElement.dataset.theme = "dark";
    else if (is("light", "true")) document.documentElement.dataset.theme = "light";
  } catch (refused) {
    if (!(refused instanceof DOMException)) throw refused;
  }
  document.getElementById("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });

  // Counts.

  const columns = [...new Set(data.panes.flatMap((pane) => Object.keys(pane.counts)))];
  document.querySelector("#counts thead").innerHTML = `<tr><th>Version</th>${columns.map((name) => `<th>${name}</th>`).join("")}</tr>`;
  const body = document.querySelector("#counts tbody");
  data.panes.forEach((pane, version) => {
    if (!Object.keys(pane.counts).length) return;
    const row = document.createElement("tr");
    row.className = pane.same ? "unchanged" : "";
    row.dataset.version = version;
    const cells = columns.map((name) => {
      const count = pane.counts[name];
      if (!count) return "<td></td>";
      const value = count.value !== null && String(count.value) !== count.formula ? ` = ${count.value.toLocaleString("en")}` : "";
      return `<td class="formula">${escaped(count.formula)}${value}</td>`;
    });
    row.innerHTML = `<td>${escaped(pane.group)}: ${escaped(pane.title)}</td>${cells.join("")}`;
    row.addEventListener("click", () => {
      const pane_ = panes.find((shown) => shown.pane.group === pane.group) || panes[panes.length - 1];
      pane_.show(version);
    });
    body.append(row);
  });

  // Plot.

  const MARGIN = { left: 52, right: 12, top: 8, bottom: 22 };

  function steps(low, high, count) {
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k += 1) found.push(k * step);
    return found;
  }

  function short(x) {
    return x === null ? "not finite" : String(Number(x.toPrecision(5)));
  }

  // The extremes that are drawn: far outliers of a pole would make all else flat.
  function extremes(values) {
    const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
    if (!sorted.length) return [-1, 1];
    const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
    const spread = at(0.95) - at(0.05) || 1;
    let low = Math.max(sorted[0], at(0.05) - 2 * spread);
    let high = Math.min(sorted[sorted.length - 1], at(0.95) + 2 * spread);
    if (high - low < 1e-12 * Math.max(1, Math.abs(high))) [low, high] = [low - 0.5, high + 0.5];
    const air = 0.06 * (high - low);
    return [low - air, high + air];
  }

  function draw() {
    const svg = document.getElementById("curves");
    const curves = data.curves;
    if (!svg || !curves || !svg.clientWidth) return;
    const [width, height] = [svg.clientWidth, svg.clientHeight];
    const [lowX, highX] = [curves.xs[0], curves.xs[curves.xs.length - 1]];
    const [lowY, highY] = extremes([...curves.values, ...curves.slopes]);
    const x = (v) => MARGIN.left + ((v - lowX) / (highX - lowX)) * (width - MARGIN.left - MARGIN.right);
    const y = (v) => height - MARGIN.bottom - ((v - lowY) / (highY - lowY)) * (height - MARGIN.top - MARGIN.bottom);
    const path = (values) => values.map((v, k) => v === null ? "" : `${k === 0 || values[k - 1] === null ? "M" : "L"}${x(curves.xs[k]).toFixed(2)},${y(v).toFixed(2)}`).join("");
    const grid = [
      ...steps(lowX, highX, 8).map((v) => `<line class="${Math.abs(v) < 1e-9 ? "zero" : "axis"}" x1="${x(v)}" x2="${x(v)}" y1="${MARGIN.top}" y2="${height - MARGIN.bottom}"/><text x="${x(v)}" y="${height - 6}" text-anchor="middle">${short(v)}</text>`),
      ...steps(lowY, highY, 4).map((v) => `<line class="${Math.abs(v) < 1e-9 ? "zero" : "axis"}" y1="${y(v)}" y2="${y(v)}" x1="${MARGIN.left}" x2="${width - MARGIN.right}"/><text x="${MARGIN.left - 6}" y="${y(v) + 4}" text-anchor="end">${short(v)}</text>`),
    ];
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.innerHTML = `<clipPath id="inside"><rect x="${MARGIN.left}" y="${MARGIN.top}" width="${width - MARGIN.left - MARGIN.right}" height="${height - MARGIN.top - MARGIN.bottom}"/></clipPath>${grid.join("")}<g clip-path="url(#inside)"><path class="value" d="${path(curves.values)}"/><path class="slope" d="${path(curves.slopes)}"/></g><g id="cursor"></g>`;
    svg.onmousemove = (event) => {
      const at = lowX + ((event.offsetX - MARGIN.left) / (width - MARGIN.left - MARGIN.right)) * (highX - lowX);
      const k = Math.round(((at - lowX) / (highX - lowX)) * (curves.xs.length - 1));
      if (k < 0 || k >= curves.xs.length) return;
      const dot = (v, kind) => v === null ? "" : `<circle class="${kind}" r="3.5" cx="${x(curves.xs[k])}" cy="${y(v)}"/>`;
      document.getElementById("cursor").innerHTML = `<line class="cursor" x1="${x(curves.xs[k])}" x2="${x(curves.xs[k])}" y1="${MARGIN.top}" y2="${height - MARGIN.bottom}"/>${dot(curves.values[k], "value")}${dot(curves.slopes[k], "slope")}`;
      document.getElementById("readout").textContent = `${curves.argument} = ${short(curves.xs[k])}: ${short(curves.values[k])}, derivative ${short(curves.slopes[k])}`;
    };
  }

  window.addEventListener("resize", draw);
  // Where there is not room for all, the source, the code and the derivative come first.
  const room = Math.max(2, Math.floor(window.innerWidth / 300));
  const wanted = [0, data.shown.length - 1, 2, 1].slice(0, room);
  data.shown.filter((_, k) => wanted.includes(k) || k > 3).forEach((version) => new Pane(version));
  draw();
})();
