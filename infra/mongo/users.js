// Run once by the MongoDB image, when it makes its database: makes a user for each program, with the role from
// roles.json and the password from a secret. `infra/local/mongo.py` does the same for the local stack.
const fs = require("fs");

const database = db.getSiblingDB("factorline");
const roles = JSON.parse(fs.readFileSync("/etc/factorline/roles.json", "utf8"));

for (const [name, collections] of Object.entries(roles)) {
  const password = fs.readFileSync(`/run/secrets/mongo_${name}`, "utf8").trim();
  if (password.length < 20) {
    throw new Error(`the password of ${name} is too short: it needs 20 characters (\`make secrets\` makes one)`);
  }
  const privileges = Object.entries(collections).map(([collection, actions]) => ({
    resource: { db: "factorline", collection },
    actions,
  }));
  database.createRole({ role: name, privileges, roles: [] });
  database.createUser({ user: name, pwd: password, roles: [name] });
}
