// Package egress makes every request that the hub sends to someone else's server. It owns the guard that keeps
// those requests away from private addresses, their limits in time and size, and the one cache of others' public
// keys. It does not know what the keys verify, nor who may name a server: that a row may use exempt addresses is
// decided by its caller and said with each call.
package egress
