package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// confinement is what both units say of the process that they start: systemd has no way to say it once.
const confinement = `
DynamicUser=yes
UMask=0077
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
PrivateTmp=yes
PrivateMounts=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateIPC=yes
DevicePolicy=closed
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @keyring @memlock
SystemCallErrorNumber=EPERM
`

// settings are all that stands in each file of deploy/systemd, without the lines for people.
var settings = map[string]string{
	"tributary.service": `
[Unit]
Wants=network-online.target
After=network-online.target postgresql.service
StartLimitIntervalSec=0
[Service]
Type=exec
ExecStart=/usr/local/bin/tributary serve
EnvironmentFile=/etc/tributary/tributary.env
LoadCredential=database_url:/etc/tributary/database_url
LoadCredential=keyset:/etc/tributary/keyset
Environment=TRIBUTARY_DATABASE_URL_FILE=%d/database_url
Environment=TRIBUTARY_KEYSET_FILE=%d/keyset
Restart=always
RestartSec=2
RestartPreventExitStatus=2
TimeoutStopSec=30
KillMode=mixed
LimitNOFILE=65536
OOMScoreAdjust=-100
` + confinement + `
[Install]
WantedBy=multi-user.target
`,
	"tributary-migrate.service": `
[Unit]
Wants=network-online.target
After=network-online.target postgresql.service
[Service]
Type=oneshot
ExecStart=/usr/local/bin/tributary migrate up --login tributary_hub
LoadCredential=owner_database_url:/etc/tributary/owner_database_url
Environment=TRIBUTARY_OWNER_DATABASE_URL_FILE=%d/owner_database_url
TimeoutStartSec=infinity
` + strings.Replace(confinement, "ProtectProc=invisible\n", "ProtectProc=invisible\nProcSubset=pid\n", 1),
	"tls.conf": `
[Service]
PrivateUsers=no
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
LoadCredential=tls_cert:/etc/tributary/tls_cert
LoadCredential=tls_key:/etc/tributary/tls_key
Environment=TRIBUTARY_TLS_CERT_FILE=%d/tls_cert
Environment=TRIBUTARY_TLS_KEY_FILE=%d/tls_key
`,
	"tributary.env": `
TRIBUTARY_PUBLIC_URL=https://hub.example.com
TRIBUTARY_LISTEN=127.0.0.1:8080
TRIBUTARY_TRUSTED_PROXIES=127.0.0.1,::1
TRIBUTARY_OPS_LISTEN=127.0.0.1:9090
`,
}

// What systemd's own judgement weighs lightly, or not at all, is there too: each file says what this test lists and
// nothing else.
func TestSystemd_Settings(t *testing.T) {
	t.Parallel()
	for name, want := range settings {
		if diff := cmp.Diff(said(want), said(read(t, "../systemd/"+name))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// said are the lines of a file that systemd heeds, but those that describe a unit.
func said(file string) []string {
	var lines []string
	for line := range strings.Lines(file) {
		line = strings.TrimSpace(line)
		key, _, _ := strings.Cut(line, "=")
		if line != "" && !strings.HasPrefix(line, "#") && key != "Description" && key != "Documentation" {
			lines = append(lines, line)
		}
	}
	return lines
}
