{{- define "webhooks.name" -}}
{{- printf "%s" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "webhooks.selector" -}}
app.kubernetes.io/name: webhooks
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: replica
{{- end }}

{{- define "webhooks.labels" -}}
app.kubernetes.io/name: webhooks
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "webhooks.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The event stream, as the prefix makes its name. The live consumer is called
webhooks in every one. */}}
{{- define "webhooks.stream" -}}
{{- with .Values.prefix }}{{ . }}_{{ end }}RESPONSES
{{- end }}

{{/* What the label deployment says on this release's figures, and nobody else's: names
of releases are unique in a namespace only. */}}
{{- define "webhooks.deployment" -}}
{{- .Values.deployment | default (printf "%s/%s" .Release.Namespace .Release.Name) -}}
{{- end }}

{{/* Settings that the chart makes itself, and the value each comes from. */}}
{{- define "webhooks.ownSettings" -}}
NATS_URL: nats.url
NATS_CREDS: nats.credsSecret
NATS_USER: nats.userSecret
NATS_PASSWORD: nats.userSecret
NATS_INBOX_PREFIX: the key inbox-prefix of the Secret in nats.credsSecret or nats.userSecret
NATS_CA: nats.caSecret
WEBHOOKS_NATS_MONITOR: nats.monitors
WEBHOOKS_PREFIX: prefix
WEBHOOKS_REPLICAS: streamReplicas
WEBHOOKS_KEYRING: keyringSecret
WEBHOOKS_KEYRING_JSON: keyringSecret
WEBHOOKS_ADMIN_TOKEN: adminTokenSecret
WEBHOOKS_ADMIN_LISTEN: nothing, for probes and monitoring ask at port 8080
{{- end }}

{{/* The Secrets that say who a replica is on NATS. */}}
{{- define "webhooks.replicaUser" -}}
{{- dict "creds" .Values.nats.credsSecret "user" .Values.nats.userSecret | toJson -}}
{{- end }}

{{/* The same of the provision job: the replicas', when it has none of its own. */}}
{{- define "webhooks.provisionUser" -}}
{{- $n := .Values.nats -}}
{{- if or $n.provisionCredsSecret $n.provisionUserSecret -}}
{{- dict "creds" $n.provisionCredsSecret "user" $n.provisionUserSecret | toJson -}}
{{- else -}}
{{- include "webhooks.replicaUser" . -}}
{{- end -}}
{{- end }}

{{/* The settings that a replica and the provision job share. They, the mounts and the
volumes are made of the values and of who it is. */}}
{{- define "webhooks.env" -}}
{{- if and .who.creds .who.user }}
{{- fail (printf "the Secrets %s and %s each name a user of NATS: give the credentials file, or the user with a password, and leave the other empty" .who.creds .who.user) }}
{{- end -}}
- {name: NATS_URL, value: {{ .Values.nats.url | quote }}}
- {name: WEBHOOKS_REPLICAS, value: {{ .Values.streamReplicas | quote }}}
{{- with .Values.prefix }}
- {name: WEBHOOKS_PREFIX, value: {{ . | quote }}}
{{- end }}
{{- if not (hasKey .Values.env "WEBHOOKS_LOG_FORMAT") }}
- {name: WEBHOOKS_LOG_FORMAT, value: json}
{{- end }}
{{- if .who.creds }}
- {name: NATS_CREDS, value: /etc/webhooks/nats/user.creds}
{{- end }}
{{- with .who.user }}
- name: NATS_USER
  valueFrom: {secretKeyRef: {name: {{ . }}, key: user}}
- name: NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ . }}, key: password}}
{{- end }}
{{- with .who.creds | default .who.user }}
- name: NATS_INBOX_PREFIX
  valueFrom: {secretKeyRef: {name: {{ . }}, key: inbox-prefix, optional: true}}
{{- end }}
{{- if .Values.nats.caSecret }}
- {name: NATS_CA, value: /etc/webhooks/ca/ca.crt}
{{- end }}
{{- $own := include "webhooks.ownSettings" . | fromYaml }}
{{- range $name, $value := .Values.env }}
{{- with get $own $name }}
{{- fail (printf "env.%s would be set twice, for the chart sets it: take it out of env, and give %s" $name .) }}
{{- end }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "webhooks.mounts" -}}
{{- if .who.creds }}
- {name: nats, mountPath: /etc/webhooks/nats, readOnly: true}
{{- end }}
{{- if .Values.nats.caSecret }}
- {name: ca, mountPath: /etc/webhooks/ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "webhooks.volumes" -}}
{{- with .who.creds }}
- {name: nats, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- if .Values.nats.caSecret }}
- {name: ca, secret: {secretName: {{ .Values.nats.caSecret }}, defaultMode: 0440}}
{{- end }}
{{- end }}

{{/* Where NATS is reached, and where it is monitored. */}}
{{- define "webhooks.natsPorts" -}}
{{- $ports := list }}
{{- range .Values.nats.ports }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- range .Values.nats.monitors }}
{{- $url := urlParse . }}
{{- $usual := ternary "443" "80" (eq $url.scheme "https") }}
{{- $ports = append $ports (regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default $usual | int) }}
{{- end }}
{{- range $ports | uniq }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}

{{- define "webhooks.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "webhooks.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
