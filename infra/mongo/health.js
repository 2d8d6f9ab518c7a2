// Compose's health check of MongoDB: makes the replica set the first time, and fails until it takes writes.
// The password is read here, because the host's `ps` would show it on a command line.
const root = require("fs").readFileSync("/run/secrets/mongo_root", "utf8").trim();

db.getSiblingDB("admin").auth("root", root);
try {
  rs.status();
} catch {
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
}
if (!db.hello().isWritablePrimary) quit(1);
