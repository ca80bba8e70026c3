package pegasus

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

// A lone worker turns from lane to lane, and takes the jobs of one in their order. What is to be tried again
// comes after what was not tried yet, at any server, and is done even if nothing else is.
func TestLanesTakeTurns(t *testing.T) {
	pool, err := rpc.NewPool(rpc.Options{})
	require.NoError(t, err)
	one, other := pool.Node("10.0.0.1:1"), pool.Node("10.0.0.2:1")
	var l lanes[string]
	l.add(one, "one again", true)
	for _, job := range []string{"1", "2", "3"} {
		l.add(one, "one "+job, false)
		l.add(other, "other "+job, false)
	}
	l.add(nil, "nowhere", false)
	var done []string
	l.work(1, func(job string) {
		done = append(done, job)
		if job == "other 2" {
			l.add(other, "other 2 again", true)
		}
	})
	require.Equal(t, []string{
		"one 1", "other 1", "nowhere", "one 2", "other 2", "one 3", "other 3", "one again", "other 2 again",
	}, done)

	l, done = lanes[string]{}, nil
	l.add(one, "one again", true)
	l.add(other, "other 1", false)
	l.work(1, func(job string) { done = append(done, job) })
	require.Equal(t, []string{"other 1", "one again"}, done)
}
