// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import java.lang.ref.WeakReference

import scala.collection.mutable

import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.sparkmodel.SqlInternals

/** Which sessions of this driver have called a model of late. */
object Users {
  private val RecentMs = 600000L

  private case class Use(session: WeakReference[SparkSession], atMs: Long)

  private val uses = mutable.Map.empty[(String, String), Use]

  def note(session: SparkSession, model: String): Unit = synchronized {
    uses((model.toLowerCase, SqlInternals.id(session))) = Use(new WeakReference(session), System.currentTimeMillis)
  }

  /** Sessions but this one that have called the model within ten minutes, and are there still. */
  def others(session: SparkSession, model: String): Int = synchronized {
    val oldest = System.currentTimeMillis - RecentMs
    uses.filterInPlace { case (_, use) => use.atMs >= oldest && use.session.get != null }
    uses.keys.count { case (name, id) => name == model.toLowerCase && id != SqlInternals.id(session) }
  }

  def forget(model: String): Unit = synchronized { uses.filterInPlace { case ((name, _), _) => name != model.toLowerCase } }
}
