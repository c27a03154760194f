#!/usr/bin/env bash
# Save the databases and the current version of every partition into a folder; restore.sh puts them back elsewhere.
#   POSTGRES_HOST=… POSTGRES_PORT=… POSTGRES_USER=… PGPASSWORD=… deployment/backup.sh FOLDER
# The store may be written to meanwhile: what is copied is what was current, and every byte of the copy is verified.
set -euo pipefail
folder=${1:?name the folder that the backup goes into}
mkdir -p "$folder"
for database in dagster mlflow; do
  pg_dump --host="$POSTGRES_HOST" --port="${POSTGRES_PORT:-5432}" --username="$POSTGRES_USER" --no-password \
    --format=custom --file="$folder/$database.dump.part" "$database"
  mv "$folder/$database.dump.part" "$folder/$database.dump"
done
"${ENTROPICE:-entropice}" backup "$folder/store"
echo "saved to $folder"
