package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// What bounds a deployment, and what an event costs. scaling.md says where each
// comes from; tests hold those to the product that are the product's.
const (
	filled        = 0.7    // of every bound is planned with
	replicaSlots  = 2000   // attempts that a replica may have under way (--max-in-flight)
	fleetSlots    = 20_000 // that all replicas of a deployment may have (MaxAckPending)
	deploymentMax = 10_000 // events a second of one deployment: a little more than half of what one replicated stream took while it was consumed, every write synced
	replicaCPUs   = 2      // of a replica
	deliveredMost = 20_000 // events a second that a deployment delivered, on two cores that it shared with all the rest
	parkedMost    = 9300   // that it parked at the slowest
	drainedMost   = 9500   // and drained from its lanes

	endpointSlots = 64                 // attempts that an endpoint may have under way
	laneSlots     = 256                // attempts from lanes that a replica may have under way, besides those of live events
	probeSlots    = laneSlots / 2      // and to endpoints that fail, besides both
	probeWait     = 5 * time.Minute    // between two probes of one that fails, at most
	probeEvery    = probeWait / 10 * 9 // jitter takes a tenth
	probeTime     = 5 * time.Second    // of one to an endpoint that hangs
	probesMost    = 64 * 5             // a second: each shard of lanes starts five

	serviceCPU = 74e-6 // CPU seconds of the service an event, over HTTPS
	parkingCPU = 80e-6 // an event that is parked
	natsCPU    = 45e-6 // of a NATS cluster: three times the 15 µs of a single server, for each node stores every event

	eventOverhead  = 200 // bytes that an event takes in the event stream besides its body
	parkedOverhead = 450 // in a lane
	waitingBytes   = 68  // of memory that an event in a lane takes in the replica that owns it
	attemptBytes   = 150 // that an attempt takes in the delivery log
	requestBytes   = 700 // of a request besides the body: line, headers, TLS, TCP and IP

	laneEvents = 50_000   // that a lane holds, or laneBody bytes of bodies
	laneBody   = 64 << 20 // what is over stays in the event stream, owed

	clusterDeployments = 4 // deployments that share a NATS cluster of three nodes
)

// demand is what is asked of the service.
type demand struct {
	rate    float64       // events a second
	surveys float64       // that share them equally
	failing float64       // share of the surveys whose endpoint fails
	latency time.Duration // until one that works has answered
}

// live is how many attempts are under way to endpoints that work (Little's law). What
// is parked has none.
func (d demand) live() float64 { return d.rate * (1 - d.failing) * d.latency.Seconds() }

// probes is how many attempts under way find out whether failing endpoints still hang.
func (d demand) probes() float64 {
	return min(d.failing*d.surveys/probeEvery.Seconds(), probesMost) * probeTime.Seconds()
}

// cpu is what the service uses of CPUs.
func (d demand) cpu() float64 { return d.rate * ((1-d.failing)*serviceCPU + d.failing*parkingCPU) }

// part is what is asked of one of so many deployments.
func (d demand) part(deployments int) demand {
	d.rate, d.surveys = d.rate/float64(deployments), d.surveys/float64(deployments)
	return d
}

// fleet is what meets a demand: deployments side by side, each with so many replicas.
type fleet struct {
	deployments int
	each        demand // of one deployment
	replicas    int    // of one deployment, one of which may be missing
}

// fleetFor computes it.
func fleetFor(d demand) fleet {
	f := fleet{deployments: above(max(d.rate/deploymentMax, d.live()/(filled*fleetSlots), d.rate*d.failing/(filled*parkedMost)))}
	f.each = d.part(f.deployments)
	f.replicas = above(max(f.each.live()/(filled*replicaSlots), f.each.probes()/(filled*probeSlots), f.each.cpu()/(filled*replicaCPUs))) + 1
	return f
}

// there is how many replicas of a deployment there are when one is missing.
func (f fleet) there() float64 { return float64(f.replicas - 1) }

// most is how many events a second one deployment takes, with one replica missing and
// the others full. Their CPUs are no bound: two of them are good for 25,000.
func (f fleet) most() float64 {
	slots := min(f.there()*replicaSlots, fleetSlots)
	return min(slots*f.each.rate/f.each.live(), parkedMost/f.each.failing, deliveredMost)
}

// lag is how long the lag lasts after the service was away.
func (f fleet) lag(away time.Duration) time.Duration { return catchUp(away, f.each.rate/f.most()) }

// failing is how many endpoints of a deployment fail.
func (f fleet) failing() float64 { return f.each.failing * f.each.surveys }

// waits is what one deployment keeps for its endpoints that fail for so long.
func (f fleet) waits(lasts time.Duration) waits {
	return waitsFor(f.failing(), f.each.rate/f.each.surveys, lasts, bodySize)
}

// drained is how long it takes until the lanes are empty, when all endpoints recover at
// once.
func (f fleet) drained(w waits) time.Duration {
	rate := min(f.failing()*laneDrains(f.each.latency), f.there()*laneSlots/f.each.latency.Seconds(), drainedMost)
	return time.Duration(f.failing() * w.events / rate * float64(time.Second))
}

// laneDrains is how many events a second one lane gives its endpoint.
func laneDrains(latency time.Duration) float64 { return endpointSlots / latency.Seconds() }

// above is the next whole number, and at least 1. What a sum of fractions is off by
// makes no further one.
func above(x float64) int { return max(int(math.Ceil(x-1e-9)), 1) }

// catchUp is how long the lag lasts after the service was away, when events then come
// at a share of what it can deliver.
func catchUp(away time.Duration, load float64) time.Duration {
	return time.Duration(float64(away) * load / (1 - load))
}

// waits is what waits while endpoints fail: in each of their lanes, in all of them as
// they are stored, and what no lane has room for.
type waits struct {
	events float64 // a lane
	stored float64 // bytes of all lanes, on each node that stores them
	owed   float64 // events, of all endpoints
}

// waitsFor computes it for so many endpoints, each of which gets rate events a second
// with bodies of so many bytes.
func waitsFor(endpoints, rate float64, lasts time.Duration, body float64) waits {
	come := rate * lasts.Seconds()
	held := min(come, laneEvents, math.Floor(laneBody/body))
	return waits{events: held, stored: endpoints * held * (body + parkedOverhead), owed: endpoints * (come - held)}
}

// perDay is bytes that something of so many bytes takes a day, on each node.
func perDay(rate, size float64) float64 { return rate * size * (24 * time.Hour).Seconds() }

// tables are those of scaling.md, by what they are about.
func tables() map[string]string {
	return map[string]string{
		"replicas": replicasTable(), "what was measured": heldTable(), "lag": lagTable(), "lanes": lanesTable(), "storage": storageTable(), "a million": millionTable(),
	}
}

// What the table of replicas has happen.
const (
	tableAway  = 10 * time.Minute // the service, or NATS
	tableFails = 6 * time.Hour    // the endpoints that fail
)

func replicasTable() string {
	b := rows("events/s", "surveys", "of which fail", "answers after", "deployments", "attempts under way in each", "replicas of each", "service CPUs in all",
		"lag of "+short(tableAway)+" is gone after", "lanes of each take, after "+short(tableFails), "memory of each replica for them", "events owed in each", "lanes are drained within")
	for _, d := range []demand{
		{300, 200, 0.3, 50 * time.Millisecond},
		{1000, 1000, 0.01, 50 * time.Millisecond},
		{1000, 1000, 0.1, time.Second},
		{5000, 1000, 0.02, 200 * time.Millisecond},
		{5000, 10_000, 0.3, 200 * time.Millisecond},
		{10_000, 10_000, 0.01, 50 * time.Millisecond},
		{10_000, 10_000, 0.1, 200 * time.Millisecond},
		{10_000, 10_000, 0.3, 200 * time.Millisecond},
		{10_000, 10_000, 0.01, time.Second},
		{10_000, 10_000, 0.01, 3 * time.Second},
		{100_000, 100_000, 0.05, 200 * time.Millisecond},
		{1_000_000, 1_000_000, 0.01, 50 * time.Millisecond},
		{1_000_000, 1_000_000, 0.1, time.Second},
	} {
		f := fleetFor(d)
		w := f.waits(tableFails)
		b.add(thousands(d.rate), thousands(d.surveys), fmt.Sprintf("%.0f %%", 100*d.failing), d.latency,
			f.deployments, thousands(f.each.live()+f.each.probes()), f.replicas, fmt.Sprintf("%.2f", d.cpu()),
			about(f.lag(tableAway)), gigabytes(w.stored), megabytes(f.failing()*w.events*waitingBytes/f.there()), thousands(w.owed), about(f.drained(w)))
	}
	return b.String()
}

func lagTable() string {
	const away = 10 * time.Minute
	b := rows("load", "lag is gone after")
	for _, load := range []float64{0.3, 0.5, 0.7, 0.9} {
		b.add(fmt.Sprintf("%.0f %%", 100*load), catchUp(away, load).Round(time.Minute))
	}
	return b.String()
}

func lanesTable() string {
	b := rows("failing endpoints", "events/s to each", "they fail for", "in each lane", "lanes take", "owed, in the event stream")
	for _, of := range []struct {
		endpoints, rate float64
		lasts           time.Duration
	}{
		{1, 1, 6 * time.Hour},
		{1, 10, 6 * time.Hour},
		{100, 1, 6 * time.Hour},
		{1000, 0.1, 24 * time.Hour},
		{3000, 1, time.Hour},
		{3000, 1, 24 * time.Hour},
	} {
		w := waitsFor(of.endpoints, of.rate, of.lasts, bodySize)
		b.add(thousands(of.endpoints), of.rate, of.lasts, thousands(w.events), gigabytes(w.stored), thousands(w.owed))
	}
	return b.String()
}

// bodySize is what an event's body is taken to be, in bytes.
const bodySize = 1000

func storageTable() string {
	b := rows("events/s", "event stream, a day", "30 days", "delivery log, a day", "7 days")
	for _, rate := range []float64{100, 1000, 10_000, 1_000_000} {
		history, attempts := perDay(rate, bodySize+eventOverhead), perDay(rate, attemptBytes)
		b.add(thousands(rate), gigabytes(history), gigabytes(30*history), gigabytes(attempts), gigabytes(7*attempts))
	}
	return b.String()
}

// millionTable is a million events a second on paper.
func millionTable() string {
	const rate, latency = 1_000_000, 200 * time.Millisecond
	f := fleetFor(demand{rate: rate, latency: latency})
	clusters := above(float64(f.deployments) / clusterDeployments)
	stored := float64(bodySize + eventOverhead)
	b := rows("what", "how much")
	b.add("deployments, each with its prefix, event stream and lanes", f.deployments)
	b.add("replicas of each, one of which may be missing; in all", fmt.Sprintf("%d; %d", f.replicas, f.replicas*f.deployments))
	b.add("CPUs that deliver, when they are full", above(rate*serviceCPU))
	b.add(fmt.Sprintf("NATS clusters of three nodes, %d deployments each; nodes", clusterDeployments), fmt.Sprintf("%d; %d", clusters, 3*clusters))
	b.add("CPUs of all nodes, when they are full", above(rate*natsCPU))
	b.add("into the clusters from publishers", gigabits(rate*stored))
	b.add("between nodes, to two followers", gigabits(2*rate*stored))
	b.add("from the clusters to replicas", gigabits(rate*stored))
	b.add("all four ways through one cluster", gigabits(4*rate*stored/float64(clusters)))
	b.add("from replicas to endpoints", gigabits(rate*(bodySize+requestBytes)))
	b.add("written on each node of a cluster", fmt.Sprintf("%.0f MB/s", rate*(stored+attemptBytes)/float64(clusters)/1e6))
	b.add("event stream on each node, a day", gigabytes(perDay(rate, stored)/float64(clusters)))
	return b.String()
}

// markdownTable is a Markdown table as it grows.
type markdownTable struct{ strings.Builder }

func rows(head ...string) *markdownTable {
	t := &markdownTable{}
	fmt.Fprintf(t, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	return t
}

func (t *markdownTable) add(cells ...any) {
	for _, c := range cells {
		if d, is := c.(time.Duration); is {
			c = short(d)
		}
		fmt.Fprintf(t, "| %v ", c)
	}
	t.WriteString("|\n")
}

// short is a duration without what is zero.
func short(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%g h", d.Hours())
	case d >= time.Minute:
		return fmt.Sprintf("%g min", d.Minutes())
	case d >= time.Second:
		return fmt.Sprintf("%g s", d.Seconds())
	default:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
}

// about is a computed duration, no finer than it can be known.
func about(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", math.Ceil(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
}

// thousands is a whole number with commas between thousands.
func thousands(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func gigabytes(bytes float64) string { return thousands(math.Ceil(bytes/1e9)) + " GB" }

func megabytes(bytes float64) string { return thousands(math.Ceil(bytes/1e6)) + " MB" }

func gigabits(bytesPerSecond float64) string { return fmt.Sprintf("%.1f Gbit/s", 8*bytesPerSecond/1e9) }
