// The pad: strokes as lists of points, drawn with round lines; the value is their JSON. The page
// clears it by setting the value to "".
const ink = "#1b2a41", size = 280;
let strokes = [], pen = null;
const canvas = () => element.querySelector("canvas");

function redraw() {
  const board = canvas();
  if (!board) return;
  const scale = window.devicePixelRatio || 1;
  if (board.width !== size * scale) board.width = board.height = size * scale;
  const context = board.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, size, size);
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 9;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const point of stroke) context.lineTo(...point);
    context.stroke();
  }
  element.querySelector(".pad-hint").style.opacity = strokes.length ? 0 : 1;
}

function place(event) {
  const box = canvas().getBoundingClientRect();
  const to = (at, low, length) => Math.round((10 * (at - low) * size) / length) / 10;
  return [to(event.clientX, box.left, box.width), to(event.clientY, box.top, box.height)];
}

element.addEventListener("pointerdown", (event) => {
  if (event.target !== canvas()) return;
  event.preventDefault();
  canvas().setPointerCapture(event.pointerId);
  pen = [place(event)];
  strokes.push(pen);
  redraw();
});
element.addEventListener("pointermove", (event) => {
  if (!pen) return;
  for (const part of event.getCoalescedEvents?.() ?? [event]) pen.push(place(part));
  redraw();
});
const lift = () => {
  if (!pen) return;
  pen = null;
  props.value = JSON.stringify(strokes);
  trigger("change");
};
element.addEventListener("pointerup", lift);
element.addEventListener("pointercancel", lift);

watch("value", () => {
  if (!props.value) {
    strokes = [];
    pen = null;
  }
  redraw();
});
new ResizeObserver(redraw).observe(element);
redraw();
