// The drawing: a line for each frame, from when it was sent, above, to when it arrived, below. What nothing held back
// stands upright.

const length = 30_000; // ms that fit in; what takes longer makes the drawing coarser
const left = 20, right = 620, top = 26, bottom = 78;

/** draw puts the frames of a report into the svg, in place of what is there. */
export function draw(svg, { frames, interval }) {
	const least = Math.min(...frames.map((f) => f.arrived - f.sent));
	const began = frames.length === 0 ? 0 : frames[0].sent;
	const last = Math.max(length, ...frames.map((f) => f.arrived - least - began));
	const x = (ms) => left + (ms / last) * (right - left);

	const parts = [];
	for (let s = 0; s * 1000 <= last; s += 5) {
		parts.push(line('axis', x(s * 1000), top - 6, x(s * 1000), bottom + 6), label(x(s * 1000), 112, `${s} s`));
	}
	parts.push(label(left, 14, 'sent', 'start'), label(left, 96, 'arrived', 'start'));
	for (const f of frames) {
		const late = f.arrived - f.sent - least;
		parts.push(line(late > interval ? 'frame late' : 'frame', x(f.sent - began), top, x(f.sent - began + late), bottom));
	}
	svg.replaceChildren(...parts);
}

function line(kind, x1, y1, x2, y2) {
	return element('line', { class: kind, x1: x1.toFixed(1), y1, x2: x2.toFixed(1), y2 });
}

function label(x, y, text, anchor = 'middle') {
	const node = element('text', { x: x.toFixed(1), y, 'text-anchor': anchor });
	node.textContent = text;
	return node;
}

function element(name, attributes) {
	const node = document.createElementNS('http://www.w3.org/2000/svg', name);
	for (const [key, value] of Object.entries(attributes)) {
		node.setAttribute(key, value);
	}
	return node;
}
