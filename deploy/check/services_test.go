package check_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// project is all that compose.yaml says, in Compose's own long form, but for what each service says alike. Each secret
// reaches those that need it; the hub gets no login of the owner's and no folder of the machine's, and opens one port,
// on loopback. Postgres keeps its data in the volume, makes the logins on its first start, trusts nobody by address, and
// opens no port.
const project = `
name: tributary
services:
  postgres:
    image: postgres:17.10-trixie
    user: "999:999"
    environment:
      POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password
      POSTGRES_INITDB_ARGS: --data-checksums --auth-host=scram-sha-256
    secrets:
      - {source: postgres_password, target: /run/secrets/postgres_password}
      - {source: owner_password, target: /run/secrets/owner_password}
      - {source: hub_password, target: /run/secrets/hub_password}
    volumes:
      - {type: volume, source: postgres, target: /var/lib/postgresql/data, volume: {}}
      - type: bind
        source: deploy/postgres/roles.sh
        target: /docker-entrypoint-initdb.d/roles.sh
        read_only: true
        bind: {create_host_path: false}
    tmpfs: [/tmp, "/var/run/postgresql:uid=999,gid=999,mode=0755"]
    shm_size: "268435456"
    networks: {database: null}
    healthcheck:
      test: [CMD, pg_isready, --host=127.0.0.1, --username=tributary_owner, --dbname=tributary]
      interval: 5s
      timeout: 5s
      retries: 10
      start_period: 1m0s
    restart: unless-stopped
    stop_signal: SIGINT
    stop_grace_period: 1m0s
  migrate:
    image: tributary:local
    command: [migrate, up, --login, tributary_hub]
    environment: {TRIBUTARY_OWNER_DATABASE_URL_FILE: /run/secrets/owner_database_url}
    env_file: [{path: deploy/hub.env, required: false}]
    secrets: [{source: owner_database_url, target: /run/secrets/owner_database_url}]
    networks: {database: null}
    healthcheck: {disable: true}
    restart: on-failure:5
    depends_on: {postgres: {condition: service_healthy, required: true}}
  hub:
    image: tributary:local
    build: {context: ., dockerfile: deploy/Dockerfile, args: {VERSION: devel}}
    environment:
      TRIBUTARY_PUBLIC_URL: https://hub.example.com
      TRIBUTARY_DATABASE_URL_FILE: /run/secrets/database_url
      TRIBUTARY_KEYSET_FILE: /run/secrets/keyset
    env_file: [{path: deploy/hub.env, required: false}]
    secrets:
      - {source: database_url, target: /run/secrets/database_url}
      - {source: keyset, target: /run/secrets/keyset}
    ports: [{mode: ingress, host_ip: 127.0.0.1, published: "8080", target: 8080, protocol: tcp}]
    networks: {database: null, outside: null}
    ulimits: {nofile: 65536}
    restart: unless-stopped
    stop_grace_period: 30s
    depends_on:
      migrate: {condition: service_completed_successfully, required: true}
      postgres: {condition: service_healthy, required: true}
  keyset:
    image: tributary:local
    profiles: [keyset]
    entrypoint: [/tributary, keyset]
    command: [--help]
    environment:
      TRIBUTARY_OWNER_DATABASE_URL_FILE: /run/secrets/owner_database_url
      TRIBUTARY_KEYSET_FILE: /run/secrets/keyset
    env_file: [{path: deploy/hub.env, required: false}]
    secrets:
      - {source: owner_database_url, target: /run/secrets/owner_database_url}
      - {source: keyset, target: /run/secrets/keyset}
    networks: {database: null}
    healthcheck: {disable: true}
    depends_on: {postgres: {condition: service_healthy, required: true}}
networks:
  database: {name: tributary_database, ipam: {}, internal: true}
  outside: {name: tributary_outside, ipam: {}}
volumes:
  postgres: {name: tributary_postgres}
secrets:
  postgres_password: {name: tributary_postgres_password, file: deploy/secrets/postgres_password}
  owner_password: {name: tributary_owner_password, file: deploy/secrets/owner_password}
  hub_password: {name: tributary_hub_password, file: deploy/secrets/hub_password}
  owner_database_url: {name: tributary_owner_database_url, file: deploy/secrets/owner_database_url}
  database_url: {name: tributary_database_url, file: deploy/secrets/database_url}
  keyset: {name: tributary_keyset, file: deploy/secrets/keyset}
`

// A service that has its machine's sockets, another user or one more port is not the one that is listed.
func TestCompose_Services(t *testing.T) {
	t.Parallel()
	p, err := composeIn(t, filepath.Join(t.TempDir(), "deploy"), map[string]string{"TRIBUTARY_PUBLIC_URL": "https://hub.example.com"}, asItIs)
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	checkout := filepath.Dir(p.WorkingDir)
	text := strings.NewReplacer(`"`+checkout+`"`, `"."`, `"`+checkout+"/", `"`).Replace(string(content))
	var want, got map[string]any
	if err := yaml.UnmarshalStrict([]byte(project), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	for _, service := range want["services"].(map[string]any) {
		s := service.(map[string]any)
		s["read_only"] = true
		s["cap_drop"] = []any{"ALL"}
		s["security_opt"] = []any{"no-new-privileges:true"}
		s["logging"] = map[string]any{"driver": "local"}
		for _, ofTheImage := range []string{"command", "entrypoint"} { // null, where it is the image's
			if _, own := s[ofTheImage]; !own {
				s[ofTheImage] = nil
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
