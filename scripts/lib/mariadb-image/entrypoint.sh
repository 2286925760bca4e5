#!/bin/bash
# At the first start makes the database and its account; then becomes the server. Runs as the user mysql.
set -eu
data=/var/lib/mysql
server=(mariadbd --no-defaults --datadir="$data" --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid)

if [ ! -d "$data/mysql" ]; then
  : "${MARIADB_RANDOM_ROOT_PASSWORD:?}" "${MARIADB_DATABASE:?}" "${MARIADB_USER:?}" "${MARIADB_PASSWORD:?}"
  mariadb-install-db --no-defaults --datadir="$data" --auth-root-authentication-method=normal --skip-test-db >/dev/null
  quoted=${MARIADB_PASSWORD//\\/\\\\}
  quoted=${quoted//\'/\\\'}
  "${server[@]}" --bootstrap >/dev/null <<SQL
FLUSH PRIVILEGES;
CREATE DATABASE \`$MARIADB_DATABASE\`;
CREATE USER '$MARIADB_USER'@'%' IDENTIFIED BY '$quoted';
GRANT ALL ON \`$MARIADB_DATABASE\`.* TO '$MARIADB_USER'@'%';
SET PASSWORD FOR root@localhost = PASSWORD('$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')');
SQL
fi
exec "${server[@]}" --bind-address=0.0.0.0 --skip-name-resolve
