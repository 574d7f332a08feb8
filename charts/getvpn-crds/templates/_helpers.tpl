{{/* Labels and annotations of a custom resource definition, ready to be indented by two. */}}
{{- define "getvpn.crdMetadata" -}}
labels:
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
  app.kubernetes.io/name: getvpn
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/part-of: getvpn
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- $annotations := merge (dict) .Values.annotations }}
{{- if .Values.keep }}
{{- $annotations = merge (dict "helm.sh/resource-policy" "keep" "argocd.argoproj.io/sync-options" "Prune=false") $annotations }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
