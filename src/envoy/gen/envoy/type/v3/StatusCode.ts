// Original file: proto/envoy/type/v3/http_status.proto

export const StatusCode = {
  Empty: 'Empty',
  BadRequest: 'BadRequest',
  Unauthorized: 'Unauthorized',
  Forbidden: 'Forbidden',
  NotFound: 'NotFound',
  MethodNotAllowed: 'MethodNotAllowed',
  NotAcceptable: 'NotAcceptable',
  RequestTimeout: 'RequestTimeout',
  Conflict: 'Conflict',
  Gone: 'Gone',
  LengthRequired: 'LengthRequired',
  PreconditionFailed: 'PreconditionFailed',
  PayloadTooLarge: 'PayloadTooLarge',
  URITooLong: 'URITooLong',
  UnsupportedMediaType: 'UnsupportedMediaType',
  MisdirectedRequest: 'MisdirectedRequest',
  UnprocessableEntity: 'UnprocessableEntity',
  UpgradeRequired: 'UpgradeRequired',
  TooManyRequests: 'TooManyRequests',
  RequestHeaderFieldsTooLarge: 'RequestHeaderFieldsTooLarge',
  InternalServerError: 'InternalServerError',
  NotImplemented: 'NotImplemented',
  BadGateway: 'BadGateway',
  ServiceUnavailable: 'ServiceUnavailable',
  GatewayTimeout: 'GatewayTimeout',
} as const;

export type StatusCode =
  | 'Empty'
  | 0
  | 'BadRequest'
  | 400
  | 'Unauthorized'
  | 401
  | 'Forbidden'
  | 403
  | 'NotFound'
  | 404
  | 'MethodNotAllowed'
  | 405
  | 'NotAcceptable'
  | 406
  | 'RequestTimeout'
  | 408
  | 'Conflict'
  | 409
  | 'Gone'
  | 410
  | 'LengthRequired'
  | 411
  | 'PreconditionFailed'
  | 412
  | 'PayloadTooLarge'
  | 413
  | 'URITooLong'
  | 414
  | 'UnsupportedMediaType'
  | 415
  | 'MisdirectedRequest'
  | 421
  | 'UnprocessableEntity'
  | 422
  | 'UpgradeRequired'
  | 426
  | 'TooManyRequests'
  | 429
  | 'RequestHeaderFieldsTooLarge'
  | 431
  | 'InternalServerError'
  | 500
  | 'NotImplemented'
  | 501
  | 'BadGateway'
  | 502
  | 'ServiceUnavailable'
  | 503
  | 'GatewayTimeout'
  | 504

export type StatusCode__Output = typeof StatusCode[keyof typeof StatusCode]
