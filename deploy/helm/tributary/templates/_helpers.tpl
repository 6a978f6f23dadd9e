{{/* The release's name, with the chart's where it lacks it. Kubernetes' names end at 63; the longest suffix is 21. */}}
{{- define "tributary.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 42 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 42 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tributary.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tributary.labels" -}}
{{ include "tributary.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tributary.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "tributary.replicas" -}}
{{- ternary (get . "replicas") 1 (hasKey . "replicas") -}}
{{- end -}}

{{/* The name of the first workload with a role; a role without a home would be missed by nobody but users. */}}
{{- define "tributary.home" -}}
{{- $role := .role -}}
{{- $home := "" -}}
{{- range $name, $workload := .root.Values.workloads -}}
{{- if and $workload (not $home) -}}
{{- if and (has $role $workload.roles) (ne (include "tributary.replicas" $workload) "0") -}}
{{- $home = $name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- required (printf "no workload has the role %s and a replica: the hub needs ingest, api, worker and stream" $role) $home -}}
{{- end -}}

{{/* Values that each are as they should be, and cannot be so together. */}}
{{- define "tributary.agree" -}}
{{- range $role := list "ingest" "api" "worker" "stream" -}}
{{- $_ := include "tributary.home" (dict "root" $ "role" $role) -}}
{{- end -}}
{{- $needed := add (int .Values.preStopSeconds) 30 -}}
{{- if lt (int64 .Values.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "terminationGracePeriodSeconds is too short: preStopSeconds, 25 in which the hub drains and 5 to spare are %d" $needed) -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.opsFrom) -}}
{{- fail "serviceMonitor is enabled, and networkPolicy.opsFrom lets nobody reach what it asks: name where Prometheus runs" -}}
{{- end -}}
{{- $secrets := list (list "database.key" .Values.database.secret .Values.database.key) (list "keyset" .Values.keyset.secret .Values.keyset.key) -}}
{{- with .Values.database.directKey -}}
{{- $secrets = append $secrets (list "database.directKey" $.Values.database.secret .) -}}
{{- end -}}
{{- if .Values.migration.enabled -}}
{{- $secrets = append $secrets (list "migration" .Values.migration.secret .Values.migration.key) -}}
{{- end -}}
{{- if .Values.collectorHeaders.secret -}}
{{- $secrets = append $secrets (list "collectorHeaders" .Values.collectorHeaders.secret .Values.collectorHeaders.key) -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $pair := $secrets -}}
{{- $name := index $pair 0 -}}
{{- $at := printf "%s/%s" (index $pair 1) (index $pair 2) -}}
{{- if hasKey $seen $at -}}
{{- fail (printf "%s and %s are the same key of the same secret, %s: each is a secret of its own" (get $seen $at) $name $at) -}}
{{- end -}}
{{- $_ := set $seen $at $name -}}
{{- end -}}
{{- end -}}

{{- define "tributary.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tributary.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "tributary.scheduling" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A setting's text. Helm reads each number of a file as a float, which would be written with an exponent. */}}
{{- define "tributary.setting" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . | toString -}}
{{- end -}}
{{- end -}}
