// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import scala.util.Try

import io.sparkmodel.wire.ModelException
import org.apache.hadoop.hive.common.{HiveInterruptCallback, HiveInterruptUtils}

/** Ctrl-C of `spark-sql`, which cancels Spark's jobs, and so would not reach a statement that waits for a model. */
object Interrupts {

  /** Whether Hive's libraries are here, without which there is no such shell. */
  private lazy val hasHive = Try(Class.forName("org.apache.hadoop.hive.common.HiveInterruptUtils")).isSuccess

  /**
   * Wait for something that the shell's first Ctrl-C ends.
   *
   * @throws ModelException it was ended so; an interruption of any other origin is thrown as it is
   */
  def during[A](work: => A): A = if (hasHive) ShellInterrupts.during(work) else work
}

/** Apart, since it cannot be loaded without Hive's libraries. */
private object ShellInterrupts {
  def during[A](work: => A): A = {
    val waiting = new Waiting(Thread.currentThread)
    HiveInterruptUtils.add(waiting)
    try work
    catch { case _: InterruptedException if waiting.end() => throw cancelled }
    finally if (waiting.end()) Thread.interrupted() // it may have come too late, and is nobody else's
  }

  private def cancelled = new ModelException(
    "OPERATION_CANCELED", "Cannot finish this statement", "it was interrupted", "run it again")

  private class Waiting(thread: Thread) extends HiveInterruptCallback {
    private var isOver = false
    private var wasInterrupted = false

    override def interrupt(): Unit = synchronized(if (!isOver) {
      wasInterrupted = true
      thread.interrupt()
    })

    /** Whether it was interrupted, which it cannot be from now on. */
    def end(): Boolean = {
      HiveInterruptUtils.remove(this)
      synchronized { isOver = true; wasInterrupted }
    }
  }
}
