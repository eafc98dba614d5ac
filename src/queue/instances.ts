/** The BullMQ objects that a backend has created: their errors are reported, and they are closed with the backend. */
type Instance = {
  waitUntilReady(): Promise<unknown>
  close(): Promise<unknown>
  on(event: 'error', listener: (err: Error) => void): unknown
}

export type Instances = {
  /** Adds an instance and listens for its errors, which would otherwise end the process. */
  track<T extends Instance>(instance: T): T
  ready(): Promise<void>
  closeAll(): Promise<void>
}

export function trackInstances(onError: (err: Error) => void): Instances {
  const instances: Instance[] = []
  return {
    track: (instance) => {
      instance.on('error', onError)
      instances.push(instance)
      return instance
    },
    ready: async () => {
      await Promise.all(instances.map((instance) => instance.waitUntilReady()))
    },
    closeAll: async () => {
      await Promise.allSettled(instances.map((instance) => instance.close()))
    },
  }
}
