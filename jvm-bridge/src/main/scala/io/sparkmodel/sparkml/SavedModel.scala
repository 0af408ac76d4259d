// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import java.lang.reflect.{InvocationTargetException, Modifier}

import scala.util.control.NonFatal

import com.fasterxml.jackson.core.JsonProcessingException
import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}
import io.sparkmodel.wire.ModelException
import org.apache.hadoop.fs.Path
import org.apache.spark.ml.Transformer
import org.apache.spark.ml.util.MLReader
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.sparkmodel.SqlInternals

/** A model as `model.save(path)` left it. */
private[sparkml] case class SavedModel(model: Transformer, savedBy: String)

private[sparkml] object SavedModel {

  def load(spark: SparkSession, name: String, path: String): SavedModel = {
    val what = s"Cannot load model '$name' from '$path'"
    def failed(error: Throwable, fact: String, hint: String): Nothing =
      throw new ModelException("MODEL_LOAD_FAILED", what, fact, hint, cause = error)
    try {
      val saved = metadata(spark, what, path)
      val className = saved.path("class").asText
      val reader = readerOf(what, className)
      reader.session(spark).load(path) match {
        case model: Transformer => SavedModel(model, saved.path("sparkVersion").asText)
        case other =>
          throw unsupported(
            what,
            s"it is a ${other.getClass.getName}, which makes no predictions",
            "save what its fit(...) returns, and name that path")
      }
    } catch {
      case error: ModelException => throw error
      case error: ClassNotFoundException =>
        failed(error, s"the class ${error.getMessage} is not on the class path",
          "add its jar with --jars; stages that are written in Python need a pool (log the model with mlflow.spark)")
      case error: InvocationTargetException => failed(error.getCause, error.getCause.toString, "")
      case NonFatal(error) => failed(error, error.toString, "check that the folder is complete and readable")
    }
  }

  private def metadata(spark: SparkSession, what: String, path: String): JsonNode = {
    val folder = new Path(path)
    val files = folder.getFileSystem(SqlInternals.hadoopConfiguration(spark))
    if (!files.exists(folder)) {
      throw new ModelException("MODEL_NOT_FOUND", what, "there is no such path", "check it, and its scheme")
    }
    val inside = new Path(folder, "metadata")
    def noModel(fact: String) = unsupported(what, fact, "name the folder that model.save(path) of Spark ML wrote")
    if (!files.exists(inside)) throw noModel("it has no folder 'metadata', so it is no saved model of Spark ML")
    val text = spark.read.text(inside.toString).head(1).headOption.map(_.getString(0))
    val found =
      try new ObjectMapper().readTree(text.getOrElse(""))
      catch { case _: JsonProcessingException => throw noModel("its 'metadata' is not that of a model of Spark ML") }
    if (found.path("class").asText.isEmpty) throw noModel("its 'metadata' names no class")
    found
  }

  // as Spark reads the stages of a pipeline
  private def readerOf(what: String, className: String): MLReader[_] = {
    val loader = Option(Thread.currentThread.getContextClassLoader).getOrElse(getClass.getClassLoader)
    val found = Class.forName(className, false, loader)
    found.getMethods.find(method =>
      method.getName == "read" && method.getParameterCount == 0 && Modifier.isStatic(method.getModifiers) &&
        classOf[MLReader[_]].isAssignableFrom(method.getReturnType)) match {
      case Some(method) => method.invoke(null).asInstanceOf[MLReader[_]]
      case None =>
        throw unsupported(
          what,
          s"$className is no class of Spark ML that can be read back",
          "save a model of org.apache.spark.ml")
    }
  }

  private def unsupported(what: String, fact: String, hint: String): ModelException =
    new ModelException("UNSUPPORTED_SOURCE", what, fact, hint)
}
