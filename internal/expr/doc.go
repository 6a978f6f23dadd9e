// Package expr runs the expressions that tenants write: CEL with the hub's limits, alone or in the braces of a
// channel template. Routes look at an event, grants at the claims of a token. It knows what an expression may
// see, what it may cost, and how a result becomes JSON or a channel; what the results are for, its callers know.
//
// Four bounds hold together, since none is enough alone:
//
//   - the text: at most hub.MaxExpressionBytes, with few nodes after macros;
//   - the work: a cost that is paid as it arises, values included (see cost.go), and the caller's context;
//   - regular expressions: RE2, small programs, and program times text bounded;
//   - the output: JSON is written by a writer that stops, since CEL's cost does not bound a result.
package expr
