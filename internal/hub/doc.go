// Package hub has the nouns of Tributary, as values: tenants, endpoints, events, routes, messages, issuers, keys,
// with their ids, their validation, the error codes, cursors and channel patterns. It does no I/O, knows no
// storage and no wire format; every other package speaks in its words.
package hub
