"use strict";
// Reading values off the charts. The page is complete without it.
const data = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll("figure").forEach((figure, number) => {
  const svg = figure.querySelector("svg.chart"), lines = data.charts[number].lines;
  const cursor = svg.querySelector(".cursor"), read = figure.querySelector(".read");
  const left = +svg.dataset.left, right = +svg.dataset.right, { start, end } = data.axis;
  const valueAt = (points, x) => {
    let value = null;
    for (const [at, y] of points) { if (at > x) break; value = y; }
    return value === null ? "-" : +value.toPrecision(3);
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = Math.min(right, Math.max(left, (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width));
    const x = start + (at - left) / (right - left) * (end - start);
    cursor.setAttribute("x1", at); cursor.setAttribute("x2", at); cursor.setAttribute("visibility", "visible");
    read.textContent = `${x.toFixed(1)} s   ` + lines.map((line) => `${line.name} ${valueAt(line.points, x)}`).join("   ");
  });
  svg.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); read.textContent = ""; });
});
