package onebox

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// ErrEnvironment means that a table environment variable is not known here or has a wrong value.
var ErrEnvironment = errors.New("onebox: table environment")

// verdict is what a gate decides about a request.
type verdict struct {
	serve bool
	later bool           // to be served, without throttling
	name  wire.ErrorName // the frame error if it is not served; "": no reply
	body  bool           // an empty success follows the error
	after time.Duration  // when to reply, or to serve later
}

var (
	admitted = verdict{serve: true}
	ignored  = verdict{}
)

func refused(name wire.ErrorName) verdict { return verdict{name: name} }

// environment is what the replicas of a table do because of its environment variables and modes. It is
// immutable and shared by them.
type environment struct {
	denyUsers   bool
	read, write verdict // of the variable that denies client requests
	defaultTTL  uint32  // seconds; 0: none

	throttling    [throttleKinds]*throttling // nil: none
	limitReadSize bool
	readSize      float64 // bytes per second

	duplicating, idempotent, ingesting bool // see SetDuplicating, SetIdempotent, SetIngesting
}

var noEnvironment = &environment{read: admitted, write: admitted}

// admit decides with the verdict of its read or write field.
func (e *environment) admit(kind verdict) verdict {
	if e.denyUsers {
		return refused(wire.ErrACLDeny)
	}
	return kind
}

// environmentVariables maps the variables that SetTableEnv knows to what they change, for a table with
// so many partitions.
var environmentVariables = map[string]func(e *environment, value string, partitions int) error{
	"replica_access_controller.allowed_users": (*environment).setAllowedUsers,
	"replica.deny_client_request":             (*environment).setDeniedRequests,
	"default_ttl":                             (*environment).setDefaultTTL,
	"replica.read_throttling":                 setThrottling(throttleReads),
	"replica.write_throttling":                setThrottling(throttleWrites),
	"replica.write_throttling_by_size":        setThrottling(throttleWriteSize),
	"replica.backup_request_throttling":       setThrottling(throttleBackups),
	"replica.read_throttling_by_size":         (*environment).setReadSize,
}

// validateHashVariable is the one variable that does not act through an environment.
const validateHashVariable = "replica.split.validate_partition_hash"

func (e *environment) setAllowedUsers(value string, _ int) error {
	e.denyUsers = value != ""
	return nil
}

func (e *environment) setDeniedRequests(value string, _ int) error {
	denials := map[string]struct{ read, write verdict }{
		"":               {admitted, admitted},
		"reconfig*read":  {refused(wire.ErrInvalidState), admitted},
		"reconfig*write": {admitted, refused(wire.ErrInvalidState)},
		"reconfig*all":   {refused(wire.ErrInvalidState), refused(wire.ErrInvalidState)},
		"timeout*read":   {ignored, admitted},
		"timeout*write":  {admitted, ignored},
		"timeout*all":    {ignored, ignored},
	}
	denial, ok := denials[value]
	if !ok {
		return fmt.Errorf("%w: deny_client_request %q", ErrEnvironment, value)
	}
	e.read, e.write = denial.read, denial.write
	return nil
}

func (e *environment) setDefaultTTL(value string, _ int) error {
	if value == "" {
		return nil // deleting the variable does not end it
	}
	seconds, err := strconv.ParseInt(value, 10, 32)
	if err != nil || seconds < 0 {
		return fmt.Errorf("%w: default_ttl %q", ErrEnvironment, value)
	}
	e.defaultTTL = uint32(seconds)
	return nil
}

func setThrottling(kind throttleKind) func(*environment, string, int) error {
	return func(e *environment, value string, partitions int) (err error) {
		e.throttling[kind] = nil
		if value != "" {
			e.throttling[kind], err = parseThrottling(value, partitions)
		}
		return err
	}
}

func (e *environment) setReadSize(value string, partitions int) error {
	if e.limitReadSize = value != ""; !e.limitReadSize {
		return nil
	}
	units, err := parseUnits(value)
	e.readSize = float64(units / int64(partitions))
	return err
}

// SetTableEnv sets an environment variable of a table, at once on all replicas; an empty value deletes
// it. It knows:
//   - replica_access_controller.allowed_users: any value denies all requests with ERR_ACL_DENY, since
//     connections have no user here.
//   - replica.deny_client_request: "reconfig*read", "reconfig*write" or "reconfig*all" answers such
//     requests with ERR_INVALID_STATE, "timeout*..." does not answer them.
//   - default_ttl: the seconds that a record lives whose write has no expiry. As on real servers, deleting
//     the variable does not end it; "0" does.
//   - replica.read_throttling, replica.write_throttling, replica.write_throttling_by_size and
//     replica.backup_request_throttling: "<units>*delay*<ms>", "<units>*reject*<ms>" or both with a comma.
//     Units are counted by Config.Now, and delays are in real time.
//   - replica.read_throttling_by_size: bytes per second by Config.Now.
//   - replica.split.validate_partition_hash: "true" or "false"; a split sets it to "true".
func (c *Cluster) SetTableEnv(name, variable, value string) error {
	if variable == validateHashVariable {
		return c.setHashValidation(name, value)
	}
	return c.editEnvironment(name, func(e *environment, partitions int) error {
		set := environmentVariables[variable]
		if set == nil {
			return fmt.Errorf("%w: unknown variable %s", ErrEnvironment, variable)
		}
		return set(e, value, partitions)
	})
}

// SetDuplicating says that a table is being duplicated to another cluster. Its servers refuse incr,
// check_and_set and check_and_mutate with ERR_OPERATION_DISABLED, unless it is in idempotent mode.
func (c *Cluster) SetDuplicating(name string, on bool) error {
	return c.editEnvironment(name, func(e *environment, _ int) error { e.duplicating = on; return nil })
}

// SetIdempotent puts a table into idempotent mode, in which incr, check_and_set and check_and_mutate
// that fail take no position in the log and answer with decree -1.
func (c *Cluster) SetIdempotent(name string, on bool) error {
	return c.editEnvironment(name, func(e *environment, _ int) error { e.idempotent = on; return nil })
}

// SetIngesting says that a bulk load ingests data into a table. Its servers refuse all writes with
// ERR_OPERATION_DISABLED.
func (c *Cluster) SetIngesting(name string, on bool) error {
	return c.editEnvironment(name, func(e *environment, _ int) error { e.ingesting = on; return nil })
}

// editEnvironment gives the replicas of a table a changed environment, unless the change fails.
func (c *Cluster) editEnvironment(name string, edit func(e *environment, partitions int) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tables[name]
	if t == nil {
		return fmt.Errorf("%w: %s", ErrNoTable, name)
	}
	env := *t.env
	if err := edit(&env, len(t.partitions)); err != nil {
		return err
	}
	t.env = &env
	for _, p := range t.partitions {
		p.eachReplica(func(r *replica) { r.env = &env })
	}
	return nil
}

func (c *Cluster) setHashValidation(name, value string) error {
	validate, err := strconv.ParseBool(value)
	if err != nil && value != "" {
		return fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tables[name]
	if t == nil {
		return fmt.Errorf("%w: %s", ErrNoTable, name)
	}
	for _, p := range t.partitions {
		p.eachReplica(func(r *replica) { r.split.validate = validate })
	}
	return nil
}
