// Original file: proto/envoy/service/ext_proc/v3/external_processor.proto


export interface HttpBody {
  'end_of_stream'?: (boolean);
}

export interface HttpBody__Output {
  'end_of_stream'?: (boolean);
}
