#!/usr/bin/env bash
# A CA, and a certificate and key of it for every process, for config/compose/tls.yml. Needs openssl.
#
#   config/compose/certificates.sh [FOLDER]      FOLDER: ./certificates, as tls.yml has it
#
# Each process gets a folder of its own, so that none has another's key. They are not root in their containers, and must read
# theirs: it is FOLDER that keeps everybody else on this machine out. Run again, it keeps the CA and renews the rest.
set -euo pipefail
umask 022
folder=${1:-$(cd "$(dirname "$0")/../.." && pwd)/certificates}
days=365
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# Nothing of the system's openssl.cnf.
cat > settings <<'SETTINGS'
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[process]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:$ENV::PROCESS, DNS:localhost
SETTINGS
export PROCESS=none

if [ ! -f ca.key ]; then
  (umask 077 && key ca.key)
  openssl req -config settings -extensions ca -x509 -new -key ca.key -subj "/CN=csd" -days 3650 -out ca.pem
fi
for PROCESS in orchestrator orchestrator-gpu target target-gpu draft mini maxgram; do
  mkdir -p "$PROCESS"
  key "$PROCESS/csd.key"
  # localhost, too: there a health check calls its own worker.
  openssl req -config settings -new -key "$PROCESS/csd.key" -subj "/CN=$PROCESS" |
    openssl x509 -req -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -days "$days" \
      -extfile settings -extensions process -out "$PROCESS/csd.pem" 2> /dev/null
  chmod 644 "$PROCESS/csd.key"
  cp ca.pem "$PROCESS"
done
rm settings
echo "certificates of $PWD/ca.pem for $days days"
