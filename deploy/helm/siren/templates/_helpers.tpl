{{- define "siren.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "siren.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "siren.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "siren.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "siren.selectorLabels" -}}
app.kubernetes.io/name: {{ include "siren.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "siren.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{ include "siren.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "siren.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "siren.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "siren.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "siren.tokensSecret" -}}
{{- if .Values.auth.existingSecret -}}
{{- .Values.auth.existingSecret -}}
{{- else if .Values.auth.tokens -}}
{{- include "siren.fullname" . }}-tokens
{{- end -}}
{{- end -}}

{{/* Fails unless callers must show who they are, or need not. */}}
{{- define "siren.checkAuth" -}}
{{- $asks := or (include "siren.tokensSecret" .) .Values.tls.clientCaKey (hasKey .Values.settings "jwt_jwks_file") -}}
{{- if not (or $asks .Values.auth.allowAnonymous) -}}
{{- fail "nobody would be asked who they are: set auth.existingSecret or auth.tokens (siren token new --name NAME), tls.clientCaKey or settings.jwt_jwks_file, or auth.allowAnonymous=true to let in whoever networkPolicy lets reach the servers" -}}
{{- end -}}
{{- end -}}

{{/* Kubernetes kills a pod so many seconds after it has asked it to stop. */}}
{{- define "siren.terminationGracePeriodSeconds" -}}
{{- with .Values.drain -}}
{{- add (ceil .preStopSeconds) (ceil .delaySeconds) (ceil .graceSeconds) (ceil .finishSeconds) -}}
{{- end -}}
{{- end -}}

{{/* A value as TOML: JSON is TOML, but for maps. */}}
{{- define "siren.toml" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha -}}
{{- if $index }}, {{ end -}}
{{ $key | toJson }} = {{ include "siren.toml" (get $ $key) }}
{{- end -}} }
{{- else -}}
{{ . | toJson }}
{{- end -}}
{{- end -}}

{{/* The settings file. */}}
{{- define "siren.settings" -}}
{{- $own := dict
  "host" "nothing: the server listens on all addresses of its pod"
  "port" "nothing: the pod's port is 50051, service.port is the Service's"
  "model" "model"
  "device" "gpu.enabled"
  "drain_delay_s" "drain.delaySeconds"
  "shutdown_grace_s" "drain.graceSeconds"
  "tokens_file" "auth"
  "tokens" "env, from a Secret, as SIREN_TOKENS"
  "allow_anonymous" "auth.allowAnonymous"
  "tls_cert_file" "tls"
  "tls_key_file" "tls"
  "tls_client_ca_file" "tls.clientCaKey"
  "health_port" "tls.enabled"
  "metrics_host" "metrics.enabled"
  "metrics_port" "metrics.port"
-}}
{{- range $name, $value := .Values.settings -}}
{{- if hasKey $own $name -}}
{{- fail (printf "settings.%s is set by another value: %s" $name (get $own $name)) -}}
{{- end -}}
{{- if not (kindIs "invalid" $value) }}
{{ $name }} = {{ include "siren.toml" $value }}
{{- end -}}
{{- end -}}
{{- end -}}
