package onebox

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// ErrEnvironment means that a table environment variable is not known here or has a wrong value.
var ErrEnvironment = errors.New("onebox: table environment")

// verdict is what a gate decides about a request.
type verdict struct {
	serve bool
	name  wire.ErrorName // the frame error if it is not served; "": no reply
}

var (
	admitted = verdict{serve: true}
	ignored  = verdict{}
)

func refused(name wire.ErrorName) verdict { return verdict{name: name} }

// environment is what the replicas of a table do because of its environment variables. It is immutable
// and shared by them.
type environment struct {
	denyUsers   bool
	read, write verdict // of the variable that denies client requests
	defaultTTL  uint32  // seconds; 0: none
}

var noEnvironment = &environment{read: admitted, write: admitted}

// admit decides with the verdict of its read or write field.
func (e *environment) admit(kind verdict) verdict {
	if e.denyUsers {
		return refused(wire.ErrACLDeny)
	}
	return kind
}

// environmentVariables maps the variables that SetTableEnv knows to what they change.
var environmentVariables = map[string]func(e *environment, value string) error{
	"replica_access_controller.allowed_users": (*environment).setAllowedUsers,
	"replica.deny_client_request":             (*environment).setDeniedRequests,
	"default_ttl":                             (*environment).setDefaultTTL,
}

func (e *environment) setAllowedUsers(value string) error {
	e.denyUsers = value != ""
	return nil
}

func (e *environment) setDeniedRequests(value string) error {
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

func (e *environment) setDefaultTTL(value string) error {
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

// SetTableEnv sets an environment variable of a table, at once on all replicas; an empty value deletes
// it. It knows:
//   - replica_access_controller.allowed_users: any value denies all requests with ERR_ACL_DENY, since
//     connections have no user here.
//   - replica.deny_client_request: "reconfig*read", "reconfig*write" or "reconfig*all" answers such
//     requests with ERR_INVALID_STATE, "timeout*..." does not answer them.
//   - default_ttl: the seconds that a record lives whose put has no expiry. As on real servers, deleting
//     the variable does not end it; "0" does.
func (c *Cluster) SetTableEnv(name, variable, value string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tables[name]
	if t == nil {
		return fmt.Errorf("%w: %s", ErrNoTable, name)
	}
	set := environmentVariables[variable]
	if set == nil {
		return fmt.Errorf("%w: unknown variable %s", ErrEnvironment, variable)
	}
	env := *t.env
	if err := set(&env, value); err != nil {
		return err
	}
	t.env = &env
	for _, p := range t.partitions {
		p.eachReplica(func(r *replica) { r.env = &env })
	}
	return nil
}
