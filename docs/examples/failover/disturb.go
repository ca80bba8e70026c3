package main

import (
	"context"
	"fmt"
	"time"

	"github.com/bridle-kv/bridle/test/onebox"
)

// step is one thing done to the cluster, at a share of the load's duration.
type step struct {
	at float64
	do func() string // returns what was done, for people
}

// disturb takes away the meta leader, then a replica server that holds primaries, and gives them
// back.
func disturb(ctx context.Context, cluster *onebox.Cluster, s settings, event func(format string, args ...any)) {
	var leader, replica *onebox.Node
	steps := []step{
		{0.15, func() string {
			leader = cluster.Leader()
			leader.Kill()
			return fmt.Sprintf("meta leader %s killed", leader.Address())
		}},
		{0.35, func() string {
			replica = cluster.Primary(s.table, 0)
			replica.Kill()
			return fmt.Sprintf("replica %s killed: %d of its primaries must move", replica.Address(), primaries(cluster, s.table, replica))
		}},
		{0.60, func() string {
			leader.Restart()
			return fmt.Sprintf("meta %s restarted", leader.Address())
		}},
		{0.70, func() string {
			replica.Restart()
			return fmt.Sprintf("replica %s restarted", replica.Address())
		}},
		{0.80, func() string {
			if err := cluster.MovePrimary(s.table, 1, indexOf(cluster, replica)); err != nil {
				return fmt.Sprintf("primary of partition 1 cannot move: %v", err)
			}
			return fmt.Sprintf("primary of partition 1 moved to %s", replica.Address())
		}},
	}
	began := time.Now()
	for _, next := range steps {
		wait := time.NewTimer(time.Until(began.Add(time.Duration(next.at * float64(s.duration)))))
		select {
		case <-wait.C:
			event("%s", next.do())
		case <-ctx.Done():
			wait.Stop()
			return
		}
	}
}

func primaries(cluster *onebox.Cluster, table string, node *onebox.Node) (count int) {
	for partition := range partitions {
		if cluster.Primary(table, partition) == node {
			count++
		}
	}
	return count
}

func indexOf(cluster *onebox.Cluster, node *onebox.Node) int {
	for i, replica := range cluster.Replicas() {
		if replica == node {
			return i
		}
	}
	return 0
}
