// Package migrations has the schema's migrations, embedded. They only go up. Running them is store's.
package migrations

import "embed"

// FS holds the migrations in tern's form: NNN_name.sql, templates whose data are the names of the three roles
// (Tenant, Pipeline, River), quoted.
//
//go:embed [0-9]*.sql
var FS embed.FS
