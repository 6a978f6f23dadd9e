// The verdict on arrivals that are made up, and the parser on pieces that are. Run by TestVerdict.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Frames } from '../selftest/frames.js';
import { judge } from '../selftest/verdict.js';

const interval = 500;
const skew = 1_767_323_045_678; // the hub's clock says something else altogether

/** report is one of n frames: arrive says when frame i, sent at ms, came, by the reader's clock. */
function report(n, arrive, more = {}) {
	const frames = [];
	for (let i = 0; i < n; i++) {
		frames.push({ number: i + 1, sent: skew + i * interval, arrived: 1000 + arrive(i * interval, i) });
	}
	return { frames, interval, asked: 980, ended: 1000 + n * interval, bye: 'max_age', encoding: '', protocol: 'h2', ...more };
}

const atOnce = (sent) => sent + 30;
/** every bunches what is sent: it comes with the next multiple of ms, one millisecond after the other. */
const every = (ms) => (sent, i) => Math.ceil((sent + 1) / ms) * ms + i % 10;

/** jitter is the same each time, and evenly spread below ms. */
const jitter = (ms) => (sent, i) => sent + ((i * 7919) % 101) / 101 * ms;

const cases = [
	['nothing in between', report(60, atOnce), 'clear', 'Nothing buffers: 60 frames came one by one as they were sent, over HTTP/2.'],
	['HTTP/1.1', report(60, atOnce, { protocol: 'http/1.1' }), 'clear', 'Nothing buffers: 60 frames came one by one as they were sent, over HTTP/1.1.'],
	['HTTP/3', report(60, atOnce, { protocol: 'h3' }), 'clear', /over HTTP\/3\.$/],
	['a browser that does not say', report(60, atOnce, { protocol: '' }), 'clear', 'Nothing buffers: 60 frames came one by one as they were sent.'],
	['an uneven line', report(60, jitter(240)), 'clear', 'Nothing buffers: 60 frames came one by one as they were sent, over HTTP/2.'],
	['a slow line', report(60, (sent) => sent + 4000), 'clear', /^Nothing buffers/],
	['a line that pauses once', report(60, (sent) => (sent >= 9000 && sent < 12000 ? 12000 : sent)), 'clear', 'Nothing buffers: 60 frames came one by one as they were sent, but for a pause of 3 s, as of a bad line, over HTTP/2.'],
	['bunches of a second', report(60, every(1000)), 'buffers', /: frames come in bunches of 1 s, up to 0\.\d s late, over HTTP\/2\.$/],
	['bunches of 2 s', report(60, every(2000)), 'buffers', /: frames come in bunches of 2 s,/],
	['bunches of 5 s', report(60, every(5000), { protocol: 'http/1.1' }), 'buffers', 'Something in between buffers: frames come in bunches of 5 s, up to 4.5 s late, over HTTP/1.1.'],
	['bunches of 5 s on an uneven line', report(60, (sent, i) => every(5000)(sent, i) + (Math.floor(sent / 5000) * 37) % 90), 'buffers', /bunches of 5 s/],
	['bunches of 12 s', report(60, every(12_000)), 'buffers', /bunches of 12 s, up to 12 s late/],
	['held until the end', report(60, (_, i) => 30_000 + i / 10), 'buffers', 'Something in between buffers: all 60 frames came at once, 30 s after the test began, over HTTP/2.'],
	['the first kilobytes held', report(60, (sent) => Math.max(sent, 11_000)), 'buffers', /: frames come in bunches of 12 s,/],
	['bunches, compressed', report(60, every(5000), { encoding: 'gzip' }), 'buffers', /bunches of 5 s, up to 4\.5 s late, compressed \(gzip\), over HTTP\/2\.$/],
	['bunches, and cut', report(40, every(5000), { bye: '' }), 'buffers', /, over HTTP\/2, and was cut after 20 s\.$/],
	['compressed', report(60, atOnce, { encoding: 'br' }), 'compressed', /^Something in between compresses \(br\)/],
	['cut', report(31, atOnce, { bye: '' }), 'cut', "Something in between cuts streams: this one ended after 16 s without the hub's goodbye, over HTTP/2."],
	['cut at once', report(1, atOnce, { bye: '' }), 'cut', /ended after 0\.5 s/],
	['cut, compressed', report(30, atOnce, { bye: '', encoding: 'gzip' }), 'cut', /goodbye, compressed \(gzip\), over/],
	['nothing at all', report(0, atOnce, { bye: '', ended: 75_980 }), 'silent', 'Something in between lets no frame through: nothing came in 75 s, over HTTP/2.'],
	['the node stops', report(10, atOnce, { bye: 'drain' }), 'ended', 'The hub stopped or was replaced after 5 s, and until then nothing buffered, over HTTP/2: try again.'],
	['the token expires', report(10, atOnce, { bye: 'expired' }), 'ended', 'The token expired after 5 s, and until then nothing buffered, over HTTP/2: take one that is good for longer.'],
	['the token is revoked', report(10, atOnce, { bye: 'closed' }), 'ended', /^The credential was revoked, or lost its channels, after 5 s/],
	['the token is revoked at once', report(0, atOnce, { bye: 'closed' }), 'ended', 'The credential was revoked, or lost its channels, before a frame was sent.'],
	['a reason that is new', report(10, atOnce, { bye: 'fog' }), 'ended', /^The hub ended the test \(fog\)/],
];

for (const [name, given, kind, sentence] of cases) {
	test(name, () => {
		const said = judge(given);
		assert.equal(said.kind, kind, said.sentence);
		if (typeof sentence === 'string') {
			assert.equal(said.sentence, sentence);
		} else {
			assert.match(said.sentence, sentence);
		}
		assert.match(said.sentence, /^[A-Z][^\n]*\.$/, 'one sentence');
	});
}

test('bunches show whatever the two clocks say', () => {
	const given = report(60, every(5000));
	const sentence = judge(given).sentence;
	for (const ahead of [-86_400_000, 86_400_000]) {
		const other = { ...given, frames: given.frames.map((f) => ({ ...f, sent: f.sent + ahead })) };
		assert.equal(judge(other).sentence, sentence);
	}
});

test('frames come whole from whatever pieces', () => {
	const text = 'event: hub.selftest\ndata: {"number":1}\n\nevent: hub.selftest\ndata: {"number":2}\n\nevent: hub.bye\nretry: 500\ndata: {"reason":"max_age"}\n\n';
	const want = [
		{ event: 'hub.selftest', data: '{"number":1}' },
		{ event: 'hub.selftest', data: '{"number":2}' },
		{ event: 'hub.bye', data: '{"reason":"max_age"}' },
	];
	for (let size = 1; size <= text.length; size++) {
		const frames = new Frames();
		const got = [];
		for (let at = 0; at < text.length; at += size) {
			got.push(...frames.take(text.slice(at, at + size)));
		}
		assert.deepEqual(got, want, `in pieces of ${size}`);
	}
	assert.deepEqual(new Frames().take('event: hub.bye\ndata: {"rea'), [], 'half a frame is none');
});
