//go:build !unix

package rpc

const hasNonBlockingWrite = false
