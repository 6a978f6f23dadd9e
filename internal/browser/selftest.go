package browser

// selftestPolicy is for the page that says whether something between the hub and the browser holds streams back. It lets
// the page run its own script and reach the hub that it came from, and nothing else: no script and no style stand in
// the page itself, and its form can send nothing anywhere, so that a token which was typed in ends up in no address.
const selftestPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
