"use strict";
(function () {
  var all = null;
  function samples(run, workload) {
    if (all === null) { all = JSON.parse(document.getElementById("samples").textContent); }
    return all[run][workload];
  }
  function make(name, attributes, text) {
    var element = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.keys(attributes).forEach(function (key) { element.setAttribute(key, attributes[key]); });
    if (text !== undefined) { element.textContent = text; }
    return element;
  }
  function chart(clocks) {
    var width = 560, height = 190, left = 46, bottom = 150;
    var drawn = clocks.map(function (clock) {
      return clock.slice(1).sort(function (a, b) { return a - b; });
    }).filter(function (one) { return one.length > 0; });
    var svg = make("svg", { "class": "chart", role: "img", viewBox: "0 0 " + width + " " + height,
      "aria-label": "share of samples below each time, for each clock" });
    if (drawn.length === 0) { return svg; }
    var low = Math.min.apply(null, drawn.map(function (one) { return one[0]; }));
    var high = Math.max.apply(null, drawn.map(function (one) { return one[Math.floor(0.99 * (one.length - 1))]; }));
    if (high <= low) { high = low * 1.01 + 1; }
    function x(value) { return left + Math.min(1, (value - low) / (high - low)) * (width - left - 8); }
    function y(share) { return 8 + (1 - share) * (bottom - 8); }
    [0, 0.5, 1].forEach(function (share) {
      svg.appendChild(make("path", { "class": "grid", d: "M" + left + " " + y(share) + "H" + (width - 8) }));
      svg.appendChild(make("text", { "class": "tick end", x: left - 4, y: y(share) + 4 }, 100 * share + " %"));
    });
    [0, 0.25, 0.5, 0.75, 1].forEach(function (share) {
      var value = low + share * (high - low);
      svg.appendChild(make("text", { "class": "tick middle", x: Math.max(left + 12, Math.min(width - 30, x(value))), y: bottom + 18 },
        (value / 1000).toFixed(2) + " µs"));
    });
    drawn.forEach(function (sorted, index) {
      var path = "M" + x(sorted[0]) + " " + y(0);
      sorted.forEach(function (value, rank) { path += "L" + x(value).toFixed(1) + " " + y((rank + 1) / sorted.length).toFixed(1); });
      svg.appendChild(make("path", { "class": "line series" + index % 8, d: path }));
    });
    return svg;
  }
  function open(button) {
    var row = button.closest("tr");
    var clocks = samples(Number(button.dataset.run), Number(button.dataset.workload));
    var raw = document.createElement("tr");
    var cell = document.createElement("td");
    raw.className = "raw";
    cell.colSpan = row.children.length;
    cell.appendChild(chart(clocks));
    clocks.forEach(function (clock, index) {
      var key = document.createElement("div");
      var list = document.createElement("pre");
      key.className = "key series" + index % 8;
      key.textContent = clock[0] + ", " + (clock.length - 1) + " samples in ns, in the order in which they were taken";
      list.tabIndex = 0;
      list.textContent = clock.slice(1).join(" ");
      cell.appendChild(key);
      cell.appendChild(list);
    });
    raw.appendChild(cell);
    row.after(raw);
  }
  // Without this script nothing would happen on a click, so it is what shows them.
  document.querySelectorAll("button[data-run]").forEach(function (button) { button.hidden = false; });
  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-run]");
    if (!button) { return; }
    var isOpen = button.getAttribute("aria-expanded") === "true";
    if (isOpen) { button.closest("tr").nextElementSibling.remove(); } else { open(button); }
    button.setAttribute("aria-expanded", String(!isOpen));
    button.textContent = isOpen ? "show" : "hide";
  });
})();
