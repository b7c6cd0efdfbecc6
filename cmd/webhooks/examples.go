package main

// examples end the help of each command. Every one of them works as it stands,
// against a `webhooks run` on the same machine.
var examples = map[string]string{
	"demo": `
webhooks demo`,
	"run": `
webhooks run
webhooks run --nats-url nats://nats.example.com:4222 --nats-creds webhooks.creds --keyring keyring.json
NATS_URL=nats://nats.example.com:4222 webhooks run
webhooks run --allow-insecure-endpoints            for development on this machine only`,
	"provision": `
webhooks provision --dry-run                       what would be created or changed
webhooks provision
webhooks provision --resume-from mark              after an alarm: go on where it stood`,
	"status": `
webhooks status
webhooks status --json`,
	"backup": `
webhooks backup backup-2026-02-01 --dry-run        what would be copied
webhooks backup backup-2026-02-01
webhooks backup --offline backup-of-a-stopped-service --data-dir ./webhooks-data`,
	"restore": `
webhooks restore backup-2026-02-01 --dry-run       is it whole, and can it be restored here?
webhooks restore backup-2026-02-01 --nats-url nats://nats.example.com:4222 --nats-creds admin.creds --replicas 3
webhooks restore --offline backup-2026-02-01 --data-dir ./webhooks-data`,
	"lanes": `
webhooks lanes
webhooks lanes --limit 20
webhooks lanes --survey s1 --json`,
	"why": `
webhooks why 7c9e6679-7425-40de-944b-e07fc1f90ae7
webhooks why r1 --survey s1                        much faster: only that survey's events are searched`,
	"audit": `
webhooks audit
webhooks audit --since 24h --until 1h
webhooks audit --since 1041 --until 2000 --json`,
	"doctor": `
webhooks doctor
webhooks doctor --survey s1                        connect to its endpoint as well
webhooks doctor --url https://example.com/hook --json`,
	"endpoint set": `
webhooks endpoint set 550e8400-e29b-41d4-a716-446655440000 --url https://example.com/hook --secret-file secret.txt
pass show hook | webhooks endpoint set s1 --url https://example.com/hook --secret-file -
webhooks endpoint set s1 --max-in-flight 4 --rate-per-second 10`,
	"endpoint get": `
webhooks endpoint get s1
webhooks endpoint get s1 --json`,
	"endpoint list": `
webhooks endpoint list
webhooks endpoint list --json | jq -r .url`,
	"endpoint remove": "webhooks endpoint remove s1",
	"endpoint enable": `
webhooks endpoint enable s1
webhooks endpoint enable s1 --no-replay            forget what is owed, send what comes`,
	"endpoint disable": "webhooks endpoint disable s1",
	"endpoint rotate-secret": `
webhooks endpoint rotate-secret s1 --generate-secret
webhooks endpoint rotate-secret s1 --secret-file new.txt --overlap 1h`,
	"attempts": `
webhooks attempts --survey s1 --since 1h
webhooks attempts --response 7c9e6679-7425-40de-944b-e07fc1f90ae7
webhooks attempts --failed --follow
webhooks attempts --replay k7x2m4qa`,
	"dead-letters list": `
webhooks dead-letters list --survey s1 --since 24h
webhooks dead-letters list --reason malformed --json`,
	"dead-letters show": `
webhooks dead-letters show 17
webhooks dead-letters show 17 --raw > event.json`,
	"dead-letters redrive": `
webhooks dead-letters redrive --survey s1 --dry-run
webhooks dead-letters redrive --reason no-endpoint --since 24h
webhooks dead-letters redrive 17 18`,
	"dead-letters purge": `
webhooks dead-letters purge --reason malformed --dry-run
webhooks dead-letters purge 17 18`,
	"replay start": `
webhooks replay start --since 2h --survey s1 --dry-run
webhooks replay start --since 2h --survey s1 --reason "outage of example.com"
webhooks replay start --response 7c9e6679-7425-40de-944b-e07fc1f90ae7
webhooks replay start --since 1041 --until 20113 --rate 200`,
	"replay list": `
webhooks replay list
webhooks replay list --json | jq -r 'select(.state == "running").id'`,
	"replay show": `
webhooks replay show k7x2m4qa
webhooks replay show k7x2m4qa --follow`,
	"replay pause":  "webhooks replay pause k7x2m4qa",
	"replay resume": "webhooks replay resume k7x2m4qa",
	"replay cancel": "webhooks replay cancel k7x2m4qa",
	"keys generate": `
webhooks keys generate --keyring keyring.json
webhooks keys generate --keyring keyring.json --if-missing    in a set-up that runs again`,
	"keys list": "webhooks keys list --keyring keyring.json",
	"forget": `
webhooks forget --response 7c9e6679-7425-40de-944b-e07fc1f90ae7 --survey s1 --dry-run
webhooks forget --response 7c9e6679-7425-40de-944b-e07fc1f90ae7 --survey s1
webhooks forget --survey s1 --yes --json > receipt.json`,
	"keys rotate": `
webhooks keys rotate --keyring keyring.json`,
	"keys reseal": `
webhooks keys reseal --keyring keyring.json --dry-run
webhooks keys reseal --keyring keyring.json`,
	"keys remove": "webhooks keys remove 92aca74826c15aa7 --keyring keyring.json",
	"keys public": "webhooks keys public --keyring keyring.json > public.json",
	"endpoint test": `
webhooks endpoint test s1
webhooks endpoint test s1 --allow-insecure-endpoints`,
	"publish": `
webhooks publish response.json
webhooks publish responses.ndjson                  one event a line; a JSON array works too
cat response.json | webhooks publish -`,
	"listen": `
webhooks listen --secret-file secret.txt
webhooks listen --status 503                       refuse everything
webhooks listen --fail-first 2                     answer 503 twice, then 200
webhooks listen --delay 4s
webhooks listen --hang`,
	"verify": `
webhooks verify --secret-file secret.txt --signature sha256=04b1… body.json
webhooks verify --secret-file secret.txt --signature v1,K5oZ… --id r1 --timestamp 1705924800 body.json`,
	"config show": `
webhooks config show
webhooks config show --listen 127.0.0.1:4333       what a run with that flag would have
WEBHOOKS_CONFIG=webhooks.yaml webhooks config show --json`,
	"completion": `
source <(webhooks completion bash)                 in ~/.bashrc
source <(webhooks completion zsh)                  in ~/.zshrc
webhooks completion fish | source                  in ~/.config/fish/config.fish`,
	"version": "webhooks version",
}
