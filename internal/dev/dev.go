// Package dev is `tributary dev`: the whole hub in one process, with a Postgres, an OIDC issuer and a demo tenant of
// its own. It owns the data folder and what is in it, and finds everything there again, however the start before
// ended. The hub that it starts is app's, and so is everything that production has as well.
package dev
