package dev

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// defaultDataDir is the one that commands look in unless they are told otherwise.
const defaultDataDir = ".tributary"

// sampleCustomer is whom the sample payment_intent.succeeded of Stripe is from.
const sampleCustomer = "cus_Q1w2e3r4t5"

// paymentsRoute is the route that the printed line makes; by PUT, so that it can be pasted twice.
const paymentsRoute = `{"name":"payments","match":"event.type == 'payment_intent.succeeded'",` +
	`"channels":["customer:{event.body.data.object.customer}"],"type":"payment_success",` +
	`"data":"{'amount': event.body.data.object.amount}"}`

// next is what there is to try, as lines that can be pasted into a POSIX shell.
type next struct {
	command string // the program, with what it needs to find the data folder
	folder  string // as the user named it
	file    File
	ops     string // host:port

	database string // which Postgres it is
}

func newNext(command, dataDir, root string, file File, ops, database string) next {
	n := next{command: quote(command), folder: dataDir, file: file, ops: ops, database: database}
	if filepath.Clean(dataDir) != defaultDataDir {
		n.command = "TRIBUTARY_DATA_DIR=" + quote(root) + " " + n.command
	}
	return n
}

// write prints the lines. The one with the key in it is for the terminal of whoever can read dev.json anyway.
func (n next) write(w io.Writer) error {
	stream := func(token, channel string) string {
		return fmt.Sprintf(`curl -N -H "Authorization: Bearer $(%s token%s)" '%s/stream/%s?channel=%s'`, n.command, token, n.file.URL, n.file.Tenant, channel)
	}
	route := fmt.Sprintf(`curl -X PUT -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d %s %s/v1/tenants/%s/routes/payments`,
		n.file.TenantKey, quote(paymentsRoute), n.file.URL, n.file.Tenant)
	_, err := fmt.Fprintf(w, `
DEV MODE: whoever reaches this hub gets a token from its issuer. Never for production.

  hub       %s
  docs      %s/docs
  issuer    %s
  metrics   http://%s/metrics
  database  %s
  data      %s (%s has keys, secrets and the database's URL)

Try it, in a second terminal and a third:

1. Watch the demo tenant's stream
   %s

2. Send a webhook, signed as Stripe signs it
   %s send stripe payment_intent.succeeded

3. Make a route: each payment goes to its customer, and to nobody else
   %s

4. Watch as that customer, and send again
   %s

Ctrl-C stops everything; the data stays.
`,
		n.file.URL, n.file.URL, n.file.Issuer, n.ops, n.database, n.folder, FileName,
		stream("", "demo:*"), n.command, route,
		stream(" --sub alice --claim customer="+sampleCustomer, "customer:"+sampleCustomer))
	return err
}

// quote makes s one word of a POSIX shell.
func quote(s string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=%./:,@"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
