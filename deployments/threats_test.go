// Package deployments_test holds what deployments/README.md says of threats to the
// tests that show it.
package deployments_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shown is where each threat, each hostile input and each mistake that others have
// made is a test: package:test, or package:test/"name of a case";
// what hostile receivers do is a case of the list in delivery/hostiletest.
var shown = map[string][]string{
	// URLs that lead where nothing may go.
	"an address in whatever spelling":             {"delivery:TestCheckURLRefuses", "delivery:TestGuardFindsWhatAnAddressIs", "delivery:TestNothingReachesACanary", "delivery:TestNothingReachesACanaryByTheSystemsResolverEither", "delivery:TestRefusedURLsReachNothingEither"},
	"a name that resolves to a private address":   {"delivery:TestANameThatLeadsNowhereIsRefusedAtTheDial", "delivery:TestNamesThatResolveToWhereNothingMayGo"},
	"a name with a good and a bad address":        {"delivery:TestANameWithOneGoodAddress"},
	"an alias of a private name":                  {`delivery:TestNamesThatResolveToWhereNothingMayGo/"an alias of loopback"`},
	"DNS rebinding":                               {"delivery:TestRebindingReachesNothing"},
	"a kept connection after DNS has changed":     {"delivery:TestAKeptConnectionIsNotMovedByDNS"},
	"an alternative service":                      {"delivery:TestAnAlternativeServiceIsNotUsed"},
	"metadata services, whatever is allowed":      {"delivery:TestGuardOpensOnlyWhatASettingNames", "delivery:TestCheckURLRefuses"},
	"our own NATS and admin listener":             {"cmd/webhooks:TestNoSettingOpensOurOwnListeners", "cmd/webhooks:TestServersThatNATSTellsOfAreOurOwn", "delivery:TestGuardKeepsOurOwnListeners", "delivery:TestOwnListenersMayMove"},
	"user info, fragments, backslashes, CR LF":    {`delivery:TestCheckURLRefuses/"a backslash host"`, `delivery:TestCheckURLRefuses/"CR LF"`, `delivery:TestCheckURLRefuses/"a fragment that hides @"`},
	"ports of other protocols":                    {`delivery:TestCheckURLRefuses/"port 4222"`, `delivery:TestCheckURLRefuses/"port 65536"`},
	"other schemes":                               {`delivery:TestCheckURLRefuses/"gopher"`, `delivery:TestCheckURLRefuses/"file"`},
	"a URL of 8 kB, an empty host":                {`delivery:TestCheckURLRefuses/"8 kB"`, `delivery:TestCheckURLRefuses/"no host"`},
	"redirects":                                   {"delivery:TestSendNeverFollowsRedirects", "delivery:TestARedirectToWhereNothingMayGoIsNotFollowed"},
	"proxy variables":                             {"delivery:TestSendIgnoresProxySettings"},
	"a URL that changed between check and dial":   {"delivery:TestGuardJudgesAtTheDial", "cmd/webhooks:TestAURLThatTurnsPrivateBetweenTries"},
	"an owner's header that would be one of ours": {"delivery:TestCheckHeaders", "delivery:FuzzHeaders"},

	// Hostile receivers, one by one in fake time, and all at once on sockets.
	"no answer, slow answers, broken answers": {"delivery:TestHostileReceivers", "delivery:TestHostileReceiversOnSockets"},
	"a healthy endpoint beside them":          {"delivery:TestAHealthyEndpointBesideEachHostileOne", "cmd/webhooks:TestHealthyEndpointsBesideTheWorstOnes"},
	"nobody accepts":                          {"delivery:TestADialThatNeverEnds", "delivery:TestHostileReceiversOnSockets"},
	"answers without end":                     {"delivery:TestEndlessAnswersAreCutOff"},
	"a gzip bomb":                             {"delivery:TestSendInflatesNothing"},
	"a 2xx at 4.99 s and at 5.01 s":           {`delivery/hostiletest:OneByOne/"a 2xx just in time"`, `delivery/hostiletest:OneByOne/"a 2xx just too late"`, "delivery:TestHostileReceivers"},
	"reset after the status line":             {`delivery/hostiletest:resettingReceivers/"RST after the status line"`, "delivery:TestHostileReceiversOnSockets", "delivery:TestResetsAreRealOnes"},
	"a redirect loop":                         {`delivery/hostiletest:OneByOne/"a redirect to itself"`, "delivery:TestHostileReceivers"},
	"certificates that prove nothing":         {"delivery:TestSendRefusesWhatTLSCannotProve"},
	"a handshake that stalls":                 {"delivery:TestAHandshakeThatNeverEnds"},
	"HTTP/2 GOAWAY, floods, no window":        {"delivery:TestHostileHTTP2Receivers", "delivery:TestAFloodAfterTheAttemptEndsTheConnection"},
	"a dead HTTP/2 connection":                {"delivery:TestADeadHTTP2ConnectionIsReplaced"},
	"Retry-After of any kind":                 {"delivery:TestRetryAfter", "delivery:FuzzRetryAfter"},
	"410, 429, 401":                           {"delivery:TestSendJudgesByTheStatusAlone", "delivery:TestClassifyEveryStatus"},
	"closed on reuse":                         {"delivery:TestClosedOnReuse", "delivery:TestClosedBeforeReuse", "delivery:TestResetOnReuse"},

	// Payloads.
	"what is not an event":                 {"events:TestWhatIsRefused", "events:FuzzDecode", "consumer:TestMalformedEventsNeitherBlockNorLoop"},
	"what looks odd and is one":            {"events:TestWhatPassesUntouched"},
	"the largest event, and one byte more": {"events:TestTheLargestEventPassesAndOneByteMoreDoesNot", "consumer:TestTheLargestEventParksAndArrivesByteForByte"},
	"4,000 headers":                        {"events:TestFourThousandHeadersAreIgnored"},
	"a subject of another survey or depth": {"events:TestTheSubjectMustAgree", "consumer:TestADifferentSurveyInTheSubjectIsRefused"},
	"endpoint JSON of any kind":            {"config:FuzzParseEndpoint"},
	"a signature of any kind":              {"delivery:FuzzVerify", "delivery:FuzzDiagnose"},
	"an endpoint of a newer schema":        {"config:TestSchemaAndTypeRefuseTheSame", "config:TestInvalidValuesAreKeptWithTheirReason"},
	"an empty secret":                      {"delivery:TestNewSecretRefusesWithoutQuoting", "delivery:TestNewTargetRefusesWhatCannotBeSent"},

	// What happens on NATS.
	"the event stream is missing or another one": {"cmd/webhooks:TestTheEventStreamIsDeletedUnderTheService", "cmd/webhooks:TestReadinessTellsAnAlarmAndWhatToDo", "consumer/provision:TestAnEmptyServerGetsEverythingAndASecondRunFindsItSame"},
	"the consumer is deleted":                    {`cmd/webhooks:TestWhatNATSMayDoToUs/"the live consumer is deleted"`},
	"a bucket is deleted and made anew":          {"consumer:TestTheEndpointBucketIsRecreated", "config:TestABucketMadeAnewIsNoticed", "config:TestADeletedBucketKeepsWhatIsKnown"},
	"a purge under us":                           {`cmd/webhooks:TestWhatNATSMayDoToUs/"the event stream is purged"`, `cmd/webhooks:TestWhatNATSMayDoToUs/"the lanes are purged"`, "config:TestAPurgedBucketIsNoticed"},
	"storage is full":                            {"cmd/webhooks:TestAFullStoreKeepsEventsUntilThereIsRoom", "consumer:TestAFullLanesStreamKeepsEventsWhereTheyAre"},
	"permissions are revoked":                    {`cmd/webhooks:TestWhatNATSMayDoToUs/"permissions are revoked, and given back"`},
	"credentials expire":                         {"cmd/webhooks:TestCredentialsThatExpireAreReadAnew"},
	"lame duck":                                  {`cmd/webhooks:TestWhatNATSMayDoToUs/"lame duck, and a server that comes back"`},
	"max_payload is lowered":                     {`cmd/webhooks:TestWhatNATSMayDoToUs/"max_payload is lowered below what is stored"`, "consumer/deadletters:TestWhatIsTooLargeToCopyIsBuriedByReference"},
	"two replicas provision at once":             {"consumer/provision:TestTwoReplicasProvisionAtOnce"},
	"a stream of the name with other settings":   {"consumer/provision:TestAStreamThatCannotKeepThePromiseStopsTheService"},
	"an answer of NATS sent where it does harm":  {"cmd/webhooks:TestEachUserOfNATSCanDoItsWorkAndNothingElse"},
	"more endpoints than there is memory for":    {"config:TestEndpointsPastTheBoundAreAskedFor"},
	"a user of NATS does what is not its work":   {"cmd/webhooks:TestEachUserOfNATSCanDoItsWorkAndNothingElse"},
	"TLS, mutual TLS, NKeys, credentials":        {"cmd/webhooks/internal/bus:TestTLSAndMutualTLS", "cmd/webhooks/internal/bus:TestEveryWayToSayWhoOneIs", "cmd/webhooks/internal/bus:TestACredentialsFile"},

	// Secrets.
	"a secret in anything that is written": {"cmd/webhooks:TestNoSecretIsInAnythingAFullRunWrites", "cmd/webhooks:TestNoLoginToNATSIsInAnythingThatIsWritten", "consumer/deliverylog:TestNothingSecretReachesTheLog", "delivery:TestSendKeepsSecretsOutOfTheAttempt", "delivery/leaktest:TestEveryDisguiseIsSeenThrough"},
	"a credential in what a command says":  {"cmd/webhooks:TestACredentialThatCannotBeReadIsNotQuoted", "cmd/webhooks:TestConfigShowHidesWhoeverAsksNATS", "cmd/webhooks:TestASeedInPlaceOfItsFileIsNotQuoted", "config:TestAddressesAreShownWithoutWhoeverAsks"},
	"a panic":                              {"delivery:TestThePoolSurvivesAPanicWhileItCloses", "cmd/webhooks:TestTheLogSurvivesAPanicWhileItIsWritten", "consumer:TestAPanicAnywhereCostsNoEventAndNoProcess", "consumer:TestAPanicInTheFetchLoopEndsTheReplicaOnPurpose", "cmd/webhooks:TestAPanicInTheFetchLoopEndsTheService", "cmd/webhooks/internal/admin:TestARequestThatPanicsIsAnswered", "consumer/deadletters:TestAPanicOverALetterLeavesItAndShowsNothing", "consumer:TestForgetSurvivesAPanicOverOneMessage", "cmd/webhooks:TestACommandThatPanicsFailsAndShowsNothing", "cmd/webhooks:TestAPanicIsToldAlthoughTheCommandWasInterrupted", "delivery/panics:TestAPanicTellsWhereAndNothingOfWhatWasInHand", "cmd/webhooks/internal/bus:TestAPanicInWhatTheClientCallsIsSurvived", "cmd/webhooks:TestAPanicInAReceiverIsAnsweredAndShowsNothing", "cmd/webhooks:TestAPanicWhileInputIsReadIsAnErrorAndShowsNothing"},
	"a secret that cannot be opened":       {"consumer:TestAnUnsealableSecretAlarmsAndWaitsAndIsNeverSentUnsigned", "config:TestWhatDoesNotOpenIsOurFault"},
	"a secret that has expired":            {"delivery:TestNothingGoesOutUnsignedWhenEverySecretHasExpired", "delivery:TestRotationSignsWithWhatIsLive"},
	"secrets rotated under load":           {"cmd/webhooks:TestAThousandRotationsUnderLoad"},
	"keys rotated while they are used":     {"config:TestTheKeyRingIsReplacedWhileEndpointsAreInUse", "config:TestRotationKeepsOldSecretsAndResealsThem"},
	"secrets in memory that nobody uses":   {"config:TestIdleTargetsAreDropped", "config:TestTargetsAreBounded"},
	"a secret sealed by another language":  {"deployments/sealing:TestWhatNodeSealsTheServiceOpens"},
	"a key ring that others can read":      {"config:TestARingThatOthersCanReadIsRefused"},
	"the admin listener without its token": {"cmd/webhooks/internal/admin:TestTheTokenIsAskedForEverythingButHealth", "config:TestTheAdminListenerLeavesThisMachineOnlyWithAToken"},
	"slow and greedy clients of it":        {"cmd/webhooks/internal/admin:TestSlowAndGreedyClientsAreLetGo", "cmd/webhooks/internal/admin:TestScrapesAtTheSameTimeAreBounded"},
	"a command line of a stranger":         {"cmd/webhooks:FuzzArguments", "cmd/webhooks:TestCommandLinesOfChance"},

	// Nothing grows with what strangers send.
	"a log line, whatever was answered":        {"delivery:TestAttemptLogsTheHostAndNothingElseOfTheURL", "delivery:TestEndlessAnswersAreCutOff", "delivery:TestPrintable"},
	"a log of trouble that lasts":              {"consumer/internal/quiet:TestEachKindOfTroubleIsToldSeldom", "consumer:TestAnOutageOfNATSIsNoOutageOfTheLog"},
	"the cardinality of metrics":               {"deployments/checks:TestLabelsAreBounded", "delivery:TestReasonsAndVerdictsAreClosedSets"},
	"the index of the lanes":                   {"consumer/lanes:TestAnEntryIsAFewWords", "consumer:TestWhatALaneCannotHoldIsBroughtAfterRecovery"},
	"an attempt's record":                      {"consumer/deliverylog:TestHostileTextIsHeldAndShownSafely", "consumer/deliverylog:FuzzDecodeRecord"},
	"attempts that cannot be written":          {"consumer/deliverylog:TestWhatDoesNotFitIsDroppedCountedAndTold"},
	"acknowledgements that wait for NATS":      {"consumer:TestWhatHasNoRoomForLaterIsCounted"},
	"a dead letter":                            {"consumer/deadletters:TestLetterIsBounded"},
	"endpoints and hosts that nobody asks for": {"consumer/admit:TestIdleEndpointsAndHostsAreForgotten"},
	"a request to the HTTP API":                {`cmd/webhooks:TestWhatTheAPIRefusesItExplains/"a body that is too large"`, "cmd/webhooks:TestTheAPIIsClosedWithoutAToken"},

	// Mistakes that others in the field have made.
	"a time-out that stops at the headers":          {`delivery/hostiletest:OneByOne/"1 byte/s body after 200"`, "delivery:TestHostileReceivers"},
	"inflating after the limit":                     {"delivery:TestSendInflatesNothing"},
	"a body without a limit":                        {`delivery/hostiletest:EndlessAnswers/"a body of 10 GB"`, "delivery:TestEndlessAnswersAreCutOff"},
	"a POST turned into a GET by a redirect":        {"delivery:TestSendNeverFollowsRedirects"},
	"304 taken for success":                         {"delivery:TestSendNeverFollowsRedirects", "delivery:TestClassifyEveryStatus"},
	"a TLS flag the wrong way round":                {"delivery:TestSendRefusesWhatTLSCannotProve"},
	"a guard that is off when a proxy is set":       {"delivery:TestSendIgnoresProxySettings"},
	"let go before the dead letter is stored":       {"consumer:TestEveryStepOfABurialBrokenTwice", "consumer:TestADeadLetterThatCannotBeStoredKeepsItsEvent", "consumer/deadletters:TestBuryBroken"},
	"4xx that is never a dead letter":               {"consumer:TestAnEndpointDownForFourDaysGetsEverything", "consumer:TestAnEventThatFailsByItselfHoldsNobodyUp", "consumer:TestRedirectsAndClientErrorsComeAgain"},
	"a hot loop of refused messages":                {"consumer:TestADeadEndpointIsLeftAloneAndDrainsAtOnceWhenItWorks"},
	"acknowledged before it is done":                {"consumer:TestAReplicaThatCrashesLosesNothing", "consumer:TestEveryStepBrokenTwice"},
	"a new HTTP client for each attempt":            {"cmd/webhooks:TestAttemptsShareTheirConnections", "delivery:TestSendKeepsAConnectionOnlyWhenTheBodyIsShort"},
	"a dead worker that looks alive":                {"consumer:TestAWorkerThatIsStuckIsNotLive"},
	"docs that name a header which is not sent":     {"deployments/receivers:TestTheRulesNameTheHeadersThatAreSent", "delivery:TestHeadersAreTheContract"},
	"an unsigned test event":                        {"delivery:TestHeadersAreTheContract", "cmd/webhooks:TestScripts"},
	"a panic on one message that loops the process": {"consumer:TestAPanicOnOneEventIsADeadLetterWithItsStackAndTheProcessLives", "consumer:TestAPanicOnAParkedEventIsADeadLetterWithItsStackAndTheProcessLives"},
	"an AckWait shorter than an attempt":            {"config:TestAllFaultsAreReportedAtOnce"},
}

// Whoever renames a test, or takes a case out, is told whose proof it was.
func TestEveryThreatHasItsTest(t *testing.T) {
	sources := map[string]string{}
	for threat, tests := range shown {
		for _, name := range tests {
			pkg, test, _ := strings.Cut(name, ":")
			test, inner, hasCase := strings.Cut(test, "/")
			if sources[pkg] == "" {
				sources[pkg] = testsOf(t, pkg)
			}
			if !regexp.MustCompile(`(?m)^func ` + test + `\(`).MatchString(sources[pkg]) {
				t.Errorf("%s: there is no test %s in %s", threat, test, pkg)
			}
			if hasCase && !strings.Contains(sources[pkg], inner) {
				t.Errorf("%s: %s has no case %s", threat, test, inner)
			}
		}
	}
}

// testsOf is the source of a package's tests.
func testsOf(t *testing.T, pkg string) string {
	t.Helper()
	pattern := "*_test.go"
	if strings.HasSuffix(pkg, "test") {
		pattern = "*.go" // the package is there for tests alone
	}
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(pkg), pattern))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
