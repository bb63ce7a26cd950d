#!/bin/bash
# The first step of both SSM documents: where this version of the agent is installed, nothing is downloaded. Status 168 is
# the SSM agent's "success, skip the rest"; the step that runs the agent comes all the same, because it is the last and has
# `finallyStep` (getShouldPluginSkipBasedOnControlFlow in amazon-ssm-agent's agent/framework/runpluginutil/run.go).
# Whatever else happens here, the downloads follow. Values between @@ are filled in at synth.
root=${LIFEBOAT_INSTALL_ROOT:-/opt/lifeboat}
sha256='none'
case $(uname -m) in
  x86_64 | amd64) sha256='@@SHA256_X64@@' ;;
  aarch64 | arm64) sha256='@@SHA256_ARM64@@' ;;
esac
if [[ -x $root/@@VERSION@@-${sha256:0:12}/bin/lifeboat ]]; then exit 168; fi
exit 0
