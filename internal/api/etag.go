package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
)

// tagged is a body that has an ETag: the hash of what version gives. Counters that rise by themselves are left out
// of it, so that a change which nobody made does not fail the one that somebody makes.
type tagged interface {
	version() any
}

// tag is the ETag of a resource, bound to its tenant.
func (c *call) tag(v tagged) (string, error) {
	body, err := marshal(v.version())
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(c.tenant[:])
	h.Write(body)
	return `"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16]) + `"`, nil
}

// match checks If-Match against the resource as it is, read in the transaction that is to change it.
func (c *call) match(current tagged) error {
	wanted := c.r.Header["If-Match"]
	if len(wanted) == 0 {
		return nil
	}
	tag, err := c.tag(current)
	if err != nil {
		return err
	}
	for candidate := range strings.SplitSeq(strings.Join(wanted, ","), ",") {
		if candidate = strings.TrimSpace(candidate); candidate == tag || candidate == "*" {
			return nil
		}
	}
	return hub.Errorf(hub.PreconditionFailed, "it has changed since: If-Match names another version")
}

// creates says whether a PUT makes what its path names: it does where err says that there is nothing, and the path has
// no id. Any other err comes back. It checks the preconditions of a PUT that finds nothing.
func (c *call) creates(path string, err error) (bool, error) {
	if hub.CodeOf(err) != hub.NotFound || hub.LooksLikeID(path) {
		c.status = http.StatusOK // of an earlier run, perhaps, in which it was not there
		return false, err
	}
	if len(c.r.Header["If-Match"]) > 0 {
		return true, hub.Errorf(hub.PreconditionFailed, "If-Match names a version, and there is nothing yet")
	}
	c.status = http.StatusCreated
	return true, nil
}

// matchFound checks the preconditions of a PUT that finds something: If-None-Match: * asks to create alone.
func (c *call) matchFound(current tagged) error {
	if err := c.match(current); err != nil {
		return err
	}
	if c.r.Header.Get("If-None-Match") == "*" {
		return hub.Errorf(hub.PreconditionFailed, "it exists, and If-None-Match asks to create it")
	}
	return nil
}
