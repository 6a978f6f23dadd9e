// The page: asks for tenant and token, reads the self-test with fetch, draws what comes, and says what it means.

import { draw } from './drawing.js';
import { Frames } from './frames.js';
import { judge } from './verdict.js';

const patience = 75_000; // ms; a test takes half a minute, and one that is held back until its end twice that at most

const form = document.getElementById('form');
const tenant = document.getElementById('tenant');
const token = document.getElementById('token');
const start = document.getElementById('start');
const stop = document.getElementById('stop');
const verdict = document.getElementById('verdict');
const figure = document.getElementById('figure');
const drawing = document.getElementById('drawing');

form.addEventListener('submit', async (event) => {
	event.preventDefault();
	const abort = new AbortController();
	const stopped = () => abort.abort();
	stop.addEventListener('click', stopped);
	running(true);
	try {
		const said = await test(tenant.value.trim(), token.value.trim(), abort);
		say(said.kind, said.sentence);
	} finally {
		stop.removeEventListener('click', stopped);
		running(false);
	}
});

// A page that is left may be kept whole, to be shown again: the token goes before that.
addEventListener('pagehide', () => { token.value = ''; });

function running(is) {
	start.disabled = is;
	stop.hidden = !is;
	tenant.readOnly = is;
	token.readOnly = is;
}

function say(kind, sentence) {
	verdict.dataset.kind = kind;
	verdict.textContent = sentence;
}

/** test runs one, and says what it has shown. */
async function test(name, credential, abort) {
	say('running', 'Waiting for the first frame …');
	figure.hidden = true;
	const report = { frames: [], interval: 500, asked: performance.now(), ended: 0, bye: '', encoding: '', protocol: '' };
	const address = new URL(`/stream/${encodeURIComponent(name)}/selftest`, location.href);
	const timeout = setTimeout(() => abort.abort('patience'), patience);
	try {
		const response = await fetch(address, {
			headers: { Accept: 'text/event-stream', Authorization: `Bearer ${credential}`, 'Tributary-Client': 'selftest' },
			cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer', redirect: 'error', signal: abort.signal,
		});
		const refusal = await refused(response);
		if (refusal !== '') {
			return { kind: 'refused', sentence: refusal };
		}
		report.encoding = response.headers.get('Content-Encoding') ?? '';
		await read(response.body, report);
	} catch (error) {
		if (abort.signal.aborted && abort.signal.reason !== 'patience') {
			return { kind: 'stopped', sentence: 'The test was stopped.' };
		}
		if (report.frames.length === 0 && report.encoding === '' && error instanceof TypeError && performance.now() - report.asked < 1000) {
			return { kind: 'refused', sentence: 'The hub cannot be reached, or something else answers with a redirect.' };
		}
		// Anything else is a stream that broke off: what came of it is judged.
	} finally {
		clearTimeout(timeout);
		report.ended = performance.now();
	}
	report.protocol = await protocolOf(address);
	return judge(report);
}

/** refused says why the answer is no self-test; '' where it is one. */
async function refused(response) {
	const kind = response.headers.get('Content-Type') ?? '';
	if (response.ok) {
		return kind.startsWith('text/event-stream') ? '' : `Something in between answers itself: ${response.status} with ${kind || 'no content type'} instead of a stream.`;
	}
	if (!kind.startsWith('application/problem+json')) {
		return `Something in between answers itself: ${response.status} ${response.statusText}, which the hub does not say in this form.`;
	}
	const problem = await response.json();
	return `The hub refuses the test, ${response.status} ${problem.code}: ${problem.detail || problem.title}.`;
}

/** read takes the frames as they come, until the stream ends. */
async function read(body, report) {
	const frames = new Frames();
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	for (;;) {
		const { value, done } = await reader.read();
		const arrived = performance.now();
		if (done) {
			return;
		}
		for (const { event, data } of frames.take(value)) {
			if (event === 'hub.selftest') {
				const { number, sent, interval } = JSON.parse(data);
				report.interval = interval;
				report.frames.push({ number, sent, arrived });
			} else if (event === 'hub.bye') {
				report.bye = JSON.parse(data).reason;
			}
		}
		if (report.frames.length > 0) {
			figure.hidden = false;
			draw(drawing, report);
			say('running', `${report.frames.length} frames so far, ${Math.round((arrived - report.asked) / 1000)} s …`);
		}
	}
}

/** protocolOf is the version of HTTP of the answer from that address. The browser notes it a moment after its end. */
async function protocolOf(address) {
	for (let tries = 0; tries < 20; tries++) {
		const entry = performance.getEntriesByName(address.href, 'resource').at(-1);
		if (entry?.nextHopProtocol) {
			return entry.nextHopProtocol;
		}
		await new Promise((done) => { setTimeout(done, 50); });
	}
	return performance.getEntriesByType('navigation')[0]?.nextHopProtocol ?? '';
}
