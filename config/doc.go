// Package config holds what the service is told: the settings of the process,
// and the webhook endpoint of every survey.
//
// # Settings
//
// [Settings] is one struct with one group a subject. Each field is a flag, an
// environment variable and a key of the YAML file at once; flags win over the
// environment, the environment over the file, the file over the defaults.
// [Options] teaches a kong parser that order.
//
// # Endpoints
//
// An [Endpoint] is the value of one key, the survey id, in a key-value bucket.
// The survey platform, the command line and this package write it through an
// [Editor], always comparing the revision before they set. Its secrets are
// sealed with the public half of a [Keyring], so that who writes an endpoint
// cannot read the secrets back.
//
// A [Store] watches the bucket into memory:
//
//	bucket ──watch──► arena (value and revision, off the heap) ──Target──► compiled target
//	   │                 ▲                                       (parsed and unsealed once a
//	   └──get────────────┘                                        revision, dropped when idle)
//	      a miss that the watch does not confirm
//
// The watch is never trusted for ever. It is compared with the bucket every
// minute and after every reconnect, and begun again, with a diff of everything,
// when it was closed, when the bucket is another one, or when something is
// missing. "This survey has no endpoint" is only said when the watch has come
// to where the bucket was at the time of the question, or when the bucket's
// leader has said so itself, because the event of a survey without an endpoint
// is acknowledged and gone.
package config
