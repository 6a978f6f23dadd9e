// Package secret seals what the hub must keep or hand out without showing it, and opens it again: secrets of
// endpoints, sensitive headers, cursors of lists, signals between processes. It owns the keyset, the form of
// what is sealed, the list of purposes, and String, the type that never prints what it holds. It does not know
// where sealed bytes are stored, nor who may see what they hold.
package secret
