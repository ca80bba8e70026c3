module github.com/bridle-kv/bridle/test/oracle

go 1.26

require (
	github.com/apache/thrift v0.25.0
	github.com/bridle-kv/bridle v0.0.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace github.com/bridle-kv/bridle => ../..
