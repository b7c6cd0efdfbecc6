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

{{/* The settings that a replica and the provision job share. */}}
{{- define "webhooks.env" -}}
- {name: NATS_URL, value: {{ .Values.nats.url | quote }}}
- {name: WEBHOOKS_REPLICAS, value: {{ .Values.streamReplicas | quote }}}
- {name: WEBHOOKS_LOG_FORMAT, value: json}
{{- if .Values.nats.credsSecret }}
- {name: NATS_CREDS, value: /etc/webhooks/nats/user.creds}
{{- end }}
{{- if .Values.nats.caSecret }}
- {name: NATS_CA, value: /etc/webhooks/ca/ca.crt}
{{- end }}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "webhooks.mounts" -}}
{{- if .Values.nats.credsSecret }}
- {name: nats, mountPath: /etc/webhooks/nats, readOnly: true}
{{- end }}
{{- if .Values.nats.caSecret }}
- {name: ca, mountPath: /etc/webhooks/ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "webhooks.volumes" -}}
{{- if .Values.nats.credsSecret }}
- {name: nats, secret: {secretName: {{ .Values.nats.credsSecret }}, defaultMode: 0440}}
{{- end }}
{{- if .Values.nats.caSecret }}
- {name: ca, secret: {secretName: {{ .Values.nats.caSecret }}, defaultMode: 0440}}
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
