{{- define "siren.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 45 characters at most: behind 46 Kubernetes' names of pods lack their last hyphen, by which
autoscaling knows them, and what is put behind it here is to fit as well. */}}
{{- define "siren.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains (include "siren.name" .) .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "siren.name" .) | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "siren.selectorLabels" -}}
app.kubernetes.io/name: {{ include "siren.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The name in the labels of `helm test`'s pod, which no Service selects. */}}
{{- define "siren.testName" -}}
{{- include "siren.name" . | trunc 58 | trimSuffix "-" }}-test
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
{{- $jwks := get .Values.settings "jwt_jwks_file" -}}
{{- if and .Values.tls.clientCaKey (not .Values.tls.enabled) -}}
{{- fail "tls.clientCaKey needs tls.enabled: client certificates are part of TLS" -}}
{{- end -}}
{{- if and $jwks (not .Values.env) (not .Values.envFrom) (not (and (get .Values.settings "jwt_issuer") (get .Values.settings "jwt_audience"))) -}}
{{- fail "settings.jwt_jwks_file needs settings.jwt_issuer and settings.jwt_audience: whose tokens, and for whom" -}}
{{- end -}}
{{- $asks := or (include "siren.asksForTokens" .) .Values.tls.clientCaKey $jwks -}}
{{- if not (or $asks .Values.auth.allowAnonymous) -}}
{{- fail "nobody would be asked who they are: set auth.existingSecret or auth.tokens (siren token new --name NAME), SIREN_TOKENS in env, tls.clientCaKey or settings.jwt_jwks_file, or auth.allowAnonymous=true to let in whoever networkPolicy lets reach the servers" -}}
{{- end -}}
{{- end -}}

{{/* Not empty when callers need a token: from a Secret's file, or from the environment. */}}
{{- define "siren.asksForTokens" -}}
{{- include "siren.tokensSecret" . -}}
{{- range .Values.env -}}
{{- if eq .name "SIREN_TOKENS" }}env{{ end -}}
{{- end -}}
{{- end -}}

{{/* The port of health alone, in plain text, where the main one would not answer probes: they speak
no TLS and have no token. Empty where it does. */}}
{{- define "siren.healthPort" -}}
{{- $isClosed := eq (get .Values.settings "open_health" | toString) "false" -}}
{{- if or .Values.tls.enabled $isClosed }}50052{{ end -}}
{{- end -}}

{{- define "siren.checkPorts" -}}
{{- if and .Values.metrics.enabled (has (int .Values.metrics.port) (list 50051 50052)) -}}
{{- fail "metrics.port is taken: 50051 is gRPC's, 50052 that of health alone" -}}
{{- end -}}
{{- with .Values.settings.admin_port -}}
{{- if or (has (int .) (list 50051 50052)) (and $.Values.metrics.enabled (eq (int .) (int $.Values.metrics.port))) -}}
{{- fail "settings.admin_port is taken: 50051 is gRPC's, 50052 that of health alone, and metrics.port that of metrics" -}}
{{- end -}}
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
  "health_port" "tls.enabled and settings.open_health, by which it is 50052"
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
