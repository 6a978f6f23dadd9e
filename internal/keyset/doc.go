// Package keyset holds a keyset against the database that it seals for: whether it opens what is there, which keys
// may seal, and what is sealed anew when a key goes. The keys are secret's, the rows are store's; this is where the
// two meet.
package keyset
