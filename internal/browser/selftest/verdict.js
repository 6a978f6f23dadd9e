// What a self-test has shown, in one sentence. No page and no clock in here: what came when is given, so that this can
// be tried with arrivals that are made up.

// together is how much shorter the time between two arrivals is than that between their sending, when they came in
// one bunch.
const together = 1 / 4;

/**
 * A report of one self-test. Times are milliseconds; those of the hub's clock are compared with each other only, since
 * the two clocks may differ.
 *
 * @typedef {object} Report
 * @property {{number: number, sent: number, arrived: number}[]} frames what arrived: sent by the hub's clock, arrived by ours
 * @property {number} interval between two frames, as the hub says
 * @property {number} asked when the test was asked for, by our clock
 * @property {number} ended when it ended, by our clock
 * @property {string} bye the reason of hub.bye; '' where the stream ended without it
 * @property {string} encoding of the answer, as its header says; ''
 * @property {string} protocol as browsers name it: h2, http/1.1; '' where that is not known
 */

/**
 * judge says what the report shows.
 *
 * @param {Report} report
 * @returns {{kind: 'clear'|'buffers'|'compressed'|'cut'|'ended'|'silent', sentence: string}}
 */
export function judge(report) {
	const { frames, bye, encoding } = report;
	const over = spoken(report.protocol);
	const cut = bye === '';
	const lived = seconds(report.ended - report.asked);
	if (frames.length === 0) {
		return cut
			? { kind: 'silent', sentence: `Something in between lets no frame through: nothing came in ${lived}${over}.` }
			: { kind: 'ended', sentence: `${ended(bye, 'before a frame was sent')}.` };
	}

	const bunches = bunchesOf(report);
	const compressed = encoding === '' ? '' : `, compressed (${encoding})`;
	const cutToo = cut ? `, and was cut after ${lived}` : '';
	if (bunches.held) {
		const how = bunches.all
			? `all ${frames.length} frames came at once, ${lived} after the test began`
			: `frames come in bunches of ${seconds(bunches.length)}, up to ${seconds(bunches.latest)} late`;
		return { kind: 'buffers', sentence: `Something in between buffers: ${how}${compressed}${over}${cutToo}.` };
	}
	if (cut) {
		return { kind: 'cut', sentence: `Something in between cuts streams: this one ended after ${lived} without the hub's goodbye${compressed}${over}.` };
	}
	if (encoding !== '') {
		return { kind: 'compressed', sentence: `Something in between compresses (${encoding}), which sooner or later holds frames back; in this test they came as they were sent${over}.` };
	}
	if (bye !== 'max_age') {
		return { kind: 'ended', sentence: `${ended(bye, `after ${lived}, and until then nothing buffered${over}`)}.` };
	}
	const worst = bunches.latest > 2 * report.interval ? `, but for a pause of ${seconds(bunches.latest)}, as of a bad line` : '';
	return { kind: 'clear', sentence: `Nothing buffers: ${frames.length} frames came one by one as they were sent${worst}${over}.` };
}

/** ended says why the hub ended a test before its time, when that was, and what to do. */
function ended(bye, when) {
	switch (bye) {
		case 'drain': return `The hub stopped or was replaced ${when}: try again`;
		case 'expired': return `The token expired ${when}: take one that is good for longer`;
		case 'closed': return `The credential was revoked, or lost its channels, ${when}`;
		default: return `The hub ended the test (${bye}) ${when}: try again`;
	}
}

/**
 * bunchesOf looks for frames that came together although they were sent apart.
 *
 * A line that pauses once makes a bunch as well. So it takes a quarter of all frames to call it buffering.
 *
 * @param {Report} report
 */
function bunchesOf({ frames, interval }) {
	const offsets = frames.map((f) => f.arrived - f.sent);
	const least = Math.min(...offsets); // of the frame that came fastest: what differs between the clocks, and the way itself
	const latest = Math.max(...offsets) - least;

	const sizes = [1];
	for (let i = 1; i < frames.length; i++) {
		const apart = frames[i].sent - frames[i - 1].sent;
		if (apart >= interval / 2 && frames[i].arrived - frames[i - 1].arrived < apart * together) {
			sizes[sizes.length - 1]++;
		} else {
			sizes.push(1);
		}
	}
	const bunched = sizes.filter((n) => n > 1).sort((a, b) => a - b);
	const joined = bunched.reduce((sum, n) => sum + n - 1, 0);
	return {
		held: joined >= Math.max(2, frames.length / 4),
		all: sizes.length === 1,
		length: bunched.length === 0 ? 0 : bunched[Math.floor(bunched.length / 2)] * interval,
		latest,
	};
}

/** seconds writes a time as a reader wants it: 4.5 s, 12 s. */
function seconds(ms) {
	const s = ms / 1000;
	return `${s < 10 ? Math.round(s * 10) / 10 : Math.round(s)} s`;
}

/** spoken is the version of HTTP, as the end of a sentence. */
function spoken(protocol) {
	const versions = { 'http/1.0': 'HTTP/1.0', 'http/1.1': 'HTTP/1.1', h2: 'HTTP/2', h3: 'HTTP/3' };
	const version = versions[protocol];
	return version === undefined ? '' : `, over ${version}`;
}
