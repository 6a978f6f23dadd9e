// Server-Sent Events as the hub writes them: an event: line, data: lines, an empty line. A reader of fetch gets pieces
// that begin and end anywhere.

/** A Frames takes the text of a stream piece by piece, and gives the frames that are whole. */
export class Frames {
	#rest = '';

	/**
	 * @param {string} text the next piece
	 * @returns {{event: string, data: string}[]}
	 */
	take(text) {
		const parts = (this.#rest + text).split('\n\n');
		this.#rest = parts.pop();
		return parts.map((part) => {
			const frame = { event: '', data: '' };
			for (const line of part.split('\n')) {
				const colon = line.indexOf(': ');
				if (colon > 0 && line.slice(0, colon) in frame) {
					frame[line.slice(0, colon)] = line.slice(colon + 2);
				}
			}
			return frame;
		});
	}
}
