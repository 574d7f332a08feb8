{{/* Labels of every object. */}}
{{- define "getvpn.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: getvpn
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: getvpn
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels and annotations of an object without annotations of its own, ready to be indented by two. */}}
{{- define "getvpn.metadata" -}}
labels:
  {{- include "getvpn.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels that select the operator's pods. They never change. */}}
{{- define "getvpn.operatorSelector" -}}
app.kubernetes.io/name: getvpn
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Name of the operator's service account. */}}
{{- define "getvpn.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default "getvpn-operator" }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* Full name of an image: (list root image). */}}
{{- define "getvpn.image" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- $name := $image.repository }}
{{- with $root.Values.global.imageRegistry }}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $image.repository }}
{{- end }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name ($image.tag | default $root.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Namespaces with injection: those that ask for it, and never the cluster's own or the operator's. */}}
{{- define "getvpn.namespaceSelector" -}}
matchLabels:
  getvpn.dev/injection: enabled
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      - {{ .Release.Namespace }}
      - kube-node-lease
      - kube-public
      - kube-system
  {{- if .Values.watchNamespaces }}
  - key: kubernetes.io/metadata.name
    operator: In
    values:
      {{- toYaml .Values.watchNamespaces | nindent 6 }}
  {{- end }}
  {{- with .Values.injection.extraNamespaceExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Labels and annotations of a custom resource definition, ready to be indented by two. */}}
{{- define "getvpn.crdMetadata" -}}
labels:
  {{- include "getvpn.labels" . | nindent 2 }}
{{- $annotations := merge (dict) .Values.crds.annotations .Values.commonAnnotations }}
{{- if .Values.crds.keep }}
{{- $annotations = merge (dict "helm.sh/resource-policy" "keep" "argocd.argoproj.io/sync-options" "Prune=false") $annotations }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
